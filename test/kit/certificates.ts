/** X.509 certificates for TLS tests, made on the spot: no openssl, no files that expire (RFC 5280, DER). */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";

/** A certificate and its private key. */
export interface Certificate {
  readonly certPem: string;
  readonly keyPem: string;
}

/** What to put into a certificate. */
export interface CertificateOptions {
  /** Host names and IPv4 addresses it is for; the first one is its common name. */
  readonly names: readonly [string, ...string[]];
  /** Unix milliseconds; by default it ends an hour from now. */
  readonly notAfter?: number;
}

/** An authority of its own; `certPem` is what a peer must trust. */
export class Authority {
  readonly certPem: string;
  readonly #name: string;
  readonly #key: KeyObject;

  constructor(name = "test authority") {
    const { publicKey, privateKey } = keyPair();
    this.#name = name;
    this.#key = privateKey;
    const isAuthority = extension("55:1d:13", seq(der(0x01, Buffer.of(0xff))), true);
    this.certPem = this.#certify(name, publicKey, Date.now() + HOUR, isAuthority);
  }

  /** A certificate for a server or a client, signed by this authority. */
  issue(options: CertificateOptions): Certificate {
    const { publicKey, privateKey } = keyPair();
    const names = options.names.map((name) =>
      isIP(name) === 4 ? der(0x87, Buffer.from(name.split(".").map(Number))) : der(0x82, Buffer.from(name)),
    );
    const altNames = extension("55:1d:11", seq(...names), false);
    return {
      certPem: this.#certify(options.names[0], publicKey, options.notAfter ?? Date.now() + HOUR, altNames),
      keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    };
  }

  #certify(subject: string, key: KeyObject, notAfter: number, extensions: Buffer): string {
    const serial = randomBytes(16);
    serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
    const body = seq(
      der(0xa0, der(0x02, Buffer.of(2))),
      der(0x02, serial),
      SIGNATURE_ALGORITHM,
      distinguishedName(this.#name),
      seq(time(notAfter - 2 * HOUR), time(notAfter)),
      distinguishedName(subject),
      key.export({ type: "spki", format: "der" }),
      der(0xa3, seq(extensions)),
    );
    const signature = sign("sha256", body, this.#key);
    const certificate = seq(body, SIGNATURE_ALGORITHM, der(0x03, Buffer.concat([Buffer.of(0), signature])));
    const lines = certificate.toString("base64").match(/.{1,64}/g) ?? [];
    return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
  }
}

const HOUR = 3_600_000;

function keyPair(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

/** Tag, length, content. */
function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}

function seq(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

/** An object identifier whose encoding is written as hex. */
function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex.replaceAll(":", ""), "hex"));
}

/** ecdsa-with-SHA256, 1.2.840.10045.4.3.2. */
const SIGNATURE_ALGORITHM = seq(oid("2a:86:48:ce:3d:04:03:02"));

/** A name with a common name (2.5.4.3) alone. */
function distinguishedName(commonName: string): Buffer {
  return seq(der(0x31, seq(oid("55:04:03"), der(0x0c, Buffer.from(commonName)))));
}

/** GeneralizedTime. */
function time(unixMs: number): Buffer {
  return der(0x18, Buffer.from(`${new Date(unixMs).toISOString().replace(/[-:T]|\.\d+/g, "")}`));
}

function extension(id: string, value: Buffer, critical: boolean): Buffer {
  return seq(oid(id), ...(critical ? [der(0x01, Buffer.of(0xff))] : []), der(0x04, value));
}
