/** What the `tls` sections of clients and servers have in common: the Collector's keys and checks (config/configtls, Config). */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { rootCertificates, type SecureContextOptions } from "node:tls";
import { bool, duration, oneOf, secret, section, text, texts, withHint, type z } from "../config/schema.ts";
import { notYet } from "./server-config.ts";

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

/** Go's names of suites that it calls insecure, as far as OpenSSL 3 still has them; for `include_insecure_cipher_suites`. */
const INSECURE_CIPHER_SUITES: Readonly<Record<string, string>> = {
  TLS_RSA_WITH_AES_128_CBC_SHA: "AES128-SHA",
  TLS_RSA_WITH_AES_256_CBC_SHA: "AES256-SHA",
  TLS_RSA_WITH_AES_128_CBC_SHA256: "AES128-SHA256",
  TLS_RSA_WITH_AES_128_GCM_SHA256: "AES128-GCM-SHA256",
  TLS_RSA_WITH_AES_256_GCM_SHA384: "AES256-GCM-SHA384",
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256: "ECDHE-ECDSA-AES128-SHA256",
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256: "ECDHE-RSA-AES128-SHA256",
};

/** configtls' names of curves, and OpenSSL's. OpenSSL 3.0, which Node 20 and 22 have, knows no X25519MLKEM768; it is left out of a list. */
const CURVES = { P256: "P-256", P384: "P-384", P521: "P-521", X25519: "X25519", X25519MLKEM768: undefined } as const;
const CURVE_NAMES = ["P256", "P384", "P521", "X25519", "X25519MLKEM768"] as const;

/** The keys of both sides. */
export function tlsShape() {
  return {
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
    include_insecure_cipher_suites: bool(false),
    curve_preferences: texts(),
    reload_interval: duration("0s"),
    /** Keys in a trusted platform module: Node has no way to them. */
    tpm: notYet("tpm"),
  };
}

const common = section(tlsShape());
/** The decoded keys of both sides. */
export type TlsConfig = z.output<typeof common>;

/** configtls.Config.Validate. */
export function checkTls(ctx: z.core.ParsePayload<TlsConfig>): void {
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
  const suites = config.include_insecure_cipher_suites
    ? { ...CIPHER_SUITES, ...INSECURE_CIPHER_SUITES }
    : CIPHER_SUITES;
  for (const suite of config.cipher_suites)
    if (!Object.hasOwn(suites, suite))
      issue(
        "cipher_suites",
        withHint(`invalid TLS cipher suite: ${JSON.stringify(suite)}`, `one of ${Object.keys(suites).join(", ")}`),
      );
  for (const curve of config.curve_preferences)
    if (!Object.hasOwn(CURVES, curve))
      issue(
        "curve_preferences",
        withHint(`invalid curve type: ${JSON.stringify(curve)}`, `one of ${CURVE_NAMES.join(", ")}`),
      );
}

/** PEM texts; "" where there is none. */
export interface Material {
  readonly ca: readonly string[];
  readonly cert: string;
  readonly key: string;
}

/** Equal for equal material. */
export function fingerprintOf({ ca, cert, key }: Material): string {
  return createHash("sha256")
    .update(JSON.stringify([ca, cert, key]))
    .digest("hex");
}

/** The text of a PEM file, or `inline` when no file is named. @param setting for errors. @throws Error that names setting and file */
export async function pem(setting: string, file: string, inline: string): Promise<string> {
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
export async function systemAuthorities(): Promise<readonly string[]> {
  const chosen = process.env["SSL_CERT_FILE"];
  for (const file of chosen ? [chosen] : SYSTEM_BUNDLES) {
    const content = await readFile(file, "utf8").catch(() => "");
    if (content.includes("-----BEGIN ")) return [content];
  }
  return rootCertificates;
}

/** What both sides' secure contexts are made of. */
export function contextOptions(config: TlsConfig, { ca, cert, key }: Material): SecureContextOptions {
  const { min_version, max_version, cipher_suites, curve_preferences } = config;
  const curves = curve_preferences.map((curve) => CURVES[curve as keyof typeof CURVES]).filter(Boolean);
  return {
    ca: [...ca],
    minVersion: VERSIONS[min_version],
    ...(max_version === "" ? {} : { maxVersion: VERSIONS[max_version] }),
    ...(cert === "" ? {} : { cert, key }),
    ...(cipher_suites.length === 0
      ? {}
      : { ciphers: cipher_suites.map((suite) => CIPHER_SUITES[suite] ?? INSECURE_CIPHER_SUITES[suite]).join(":") }),
    ...(curves.length === 0 ? {} : { ecdhCurve: curves.join(":") }),
  };
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
