/** The `tls` section of everything that connects: the Collector's keys and checks (config/configtls, ClientConfig). */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext, rootCertificates, type SecureContext, type SecureContextOptions } from "node:tls";
import { bool, duration, oneOf, secret, section, text, texts, withHint, type z } from "../config/schema.ts";
import type { Clock } from "../telemetry/clock.ts";

const VERSIONS = { "1.0": "TLSv1", "1.1": "TLSv1.1", "1.2": "TLSv1.2", "1.3": "TLSv1.3" } as const;

/** Go's names of the suites that Go calls secure, and OpenSSL's. Those of TLS 1.3 are always on, in both. */
const CIPHER_SUITES: Readonly<Record<string, string>> = {
  TLS_AES_128_GCM_SHA256: "TLS_AES_128_GCM_SHA256",
  TLS_AES_256_GCM_SHA384: "TLS_AES_256_GCM_SHA384",
  TLS_CHACHA20_POLY1305_SHA256: "TLS_CHACHA20_POLY1305_SHA256",
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: "ECDHE-ECDSA-AES128-SHA",
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: "ECDHE-ECDSA-AES256-SHA",
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: "ECDHE-RSA-AES128-SHA",
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: "ECDHE-RSA-AES256-SHA",
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ECDHE-ECDSA-AES128-GCM-SHA256",
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: "ECDHE-ECDSA-AES256-GCM-SHA384",
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: "ECDHE-RSA-AES128-GCM-SHA256",
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: "ECDHE-RSA-AES256-GCM-SHA384",
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-RSA-CHACHA20-POLY1305",
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
};

/** The section `tls` of a client. */
export const tlsClientSchema = section({
  insecure: bool(false),
  insecure_skip_verify: bool(false),
  server_name_override: text(""),
  ca_file: text(""),
  ca_pem: text(""),
  cert_file: text(""),
  cert_pem: text(""),
  key_file: text(""),
  key_pem: secret().optional(),
  include_system_ca_certs_pool: bool(false),
  min_version: oneOf(["1.0", "1.1", "1.2", "1.3"], "1.2"),
  max_version: oneOf(["", "1.0", "1.1", "1.2", "1.3"], ""),
  cipher_suites: texts(),
  reload_interval: duration("0s"),
}).check((ctx) => {
  const config = ctx.value;
  const issue = (key: string, message: string): void => {
    ctx.issues.push({ code: "custom", input: config, path: [key], message });
  };
  const hasKey = config.key_file !== "" || config.key_pem !== undefined;
  const hasCert = config.cert_file !== "" || config.cert_pem !== "";
  if (config.ca_file !== "" && config.ca_pem !== "")
    issue("ca_pem", "provide either a CA file or the PEM-encoded string, but not both");
  if (config.cert_file !== "" && config.cert_pem !== "")
    issue("cert_pem", "provide either certificate file or PEM, but not both");
  if (config.key_file !== "" && config.key_pem !== undefined)
    issue("key_pem", "provide either key file or PEM, but not both");
  if (hasKey !== hasCert)
    issue(
      hasKey ? "key_file" : "cert_file",
      withHint(
        "TLS configuration must include both certificate and key",
        `add ${hasKey ? "cert_file" : "key_file"}, or remove both`,
      ),
    );
  if (config.max_version !== "" && config.max_version < config.min_version)
    issue(
      "min_version",
      `min_version (${config.min_version}) cannot be greater than max_version (${config.max_version})`,
    );
  for (const suite of config.cipher_suites)
    if (!(suite in CIPHER_SUITES))
      issue(
        "cipher_suites",
        withHint(
          `invalid TLS cipher suite: ${JSON.stringify(suite)}`,
          `one of ${Object.keys(CIPHER_SUITES).join(", ")}`,
        ),
      );
});

/** What `tlsClientSchema` decodes to. */
export type TlsClientConfig = z.output<typeof tlsClientSchema>;

/** What tls.connect needs to know. */
export interface TlsClient {
  readonly secureContext: SecureContext;
  /** False accepts any certificate. */
  readonly rejectUnauthorized: boolean;
  /** The name to ask for and to expect, "" for the host that is connected to. */
  readonly serverName: string;
}

/** Whether the section asks for a connection without TLS: `insecure`, and no authority to check by (configtls). */
export function isPlaintext(config: TlsClientConfig): boolean {
  return config.insecure && config.ca_file === "" && config.ca_pem === "";
}

/** Reads the files that a `tls` section names, and reads them again every `reload_interval`. */
export class TlsClientSource {
  readonly #config: TlsClientConfig;
  readonly #clock: Clock;
  #fingerprint = "";
  #readAt = 0;

  constructor(config: TlsClientConfig, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
  }

  /** @throws Error that names the setting, the file and what is wrong with it */
  async load(): Promise<TlsClient> {
    const material = await this.#read();
    this.#fingerprint = fingerprintOf(material);
    return this.#make(material);
  }

  /** The client to use from now on when `reload_interval` has passed and a file has changed, else undefined. @throws as `load` */
  async reload(): Promise<TlsClient | undefined> {
    const { reload_interval } = this.#config;
    if (reload_interval === 0 || this.#clock.monotonic() - this.#readAt < reload_interval) return undefined;
    const material = await this.#read();
    const fingerprint = fingerprintOf(material);
    if (fingerprint === this.#fingerprint) return undefined;
    const client = this.#make(material);
    this.#fingerprint = fingerprint;
    return client;
  }

  async #read(): Promise<Material> {
    const { ca_file, ca_pem, cert_file, cert_pem, key_file, key_pem, include_system_ca_certs_pool } = this.#config;
    this.#readAt = this.#clock.monotonic();
    const ca = await pem("ca_file", ca_file, ca_pem);
    return {
      ca:
        ca === ""
          ? await systemAuthorities()
          : include_system_ca_certs_pool
            ? [...(await systemAuthorities()), ca]
            : [ca],
      cert: await pem("cert_file", cert_file, cert_pem),
      key: await pem("key_file", key_file, key_pem?.reveal() ?? ""),
    };
  }

  #make({ ca, cert, key }: Material): TlsClient {
    const { min_version, max_version, cipher_suites, insecure_skip_verify, server_name_override } = this.#config;
    const options: SecureContextOptions = {
      ca: [...ca],
      minVersion: VERSIONS[min_version],
      ...(max_version === "" ? {} : { maxVersion: VERSIONS[max_version] }),
      ...(cert === "" ? {} : { cert, key }),
      ...(cipher_suites.length === 0 ? {} : { ciphers: cipher_suites.map((suite) => CIPHER_SUITES[suite]).join(":") }),
    };
    try {
      return {
        secureContext: createSecureContext(options),
        rejectUnauthorized: !insecure_skip_verify,
        serverName: server_name_override,
      };
    } catch (error) {
      throw new Error(`failed to load TLS config: ${messageOf(error)}; check tls::ca_file, cert_file and key_file`, {
        cause: error,
      });
    }
  }
}

/** PEM texts; "" where there is none. */
interface Material {
  readonly ca: readonly string[];
  readonly cert: string;
  readonly key: string;
}

function fingerprintOf({ ca, cert, key }: Material): string {
  return createHash("sha256")
    .update(JSON.stringify([ca, cert, key]))
    .digest("hex");
}

async function pem(setting: string, file: string, inline: string): Promise<string> {
  if (file === "") return inline;
  const content = await readFile(file, "utf8").catch((error: unknown) => {
    throw new Error(`failed to load TLS config: tls::${setting}: ${messageOf(error)}`, { cause: error });
  });
  if (!content.includes("-----BEGIN "))
    throw new Error(`failed to load TLS config: tls::${setting}: ${file} has no PEM block ("-----BEGIN ...")`);
  return content;
}

/** Where systems keep the authorities they trust (crypto/x509/root_linux.go, root_bsd.go). */
const SYSTEM_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/tls/cacert.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** The system's authorities as Go finds them (SSL_CERT_FILE first); where there are none, those that come with Node. */
async function systemAuthorities(): Promise<readonly string[]> {
  const chosen = process.env["SSL_CERT_FILE"];
  for (const file of chosen ? [chosen] : SYSTEM_BUNDLES) {
    const content = await readFile(file, "utf8").catch(() => "");
    if (content.includes("-----BEGIN ")) return [content];
  }
  return rootCertificates;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
