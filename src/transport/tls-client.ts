/** The `tls` section of everything that connects: the Collector's keys and checks (config/configtls, ClientConfig). */
import { createSecureContext, type SecureContext } from "node:tls";
import { bool, section, text, type z } from "../config/schema.ts";
import type { Clock } from "../telemetry/clock.ts";
import {
  checkTls,
  contextOptions,
  fingerprintOf,
  type Material,
  messageOf,
  pem,
  systemAuthorities,
  tlsShape,
} from "./tls-material.ts";

/** The section `tls` of a client. */
export const tlsClientSchema = section({
  insecure: bool(false),
  insecure_skip_verify: bool(false),
  server_name_override: text(""),
  ...tlsShape(),
}).check(checkTls);

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

  #make(material: Material): TlsClient {
    const { insecure_skip_verify, server_name_override } = this.#config;
    try {
      return {
        secureContext: createSecureContext(contextOptions(this.#config, material)),
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
