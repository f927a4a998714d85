/** The `tls` section of everything that listens: the Collector's keys and checks (config/configtls, ServerConfig). */
import type { Socket } from "node:net";
import { createSecureContext, type SecureContextOptions, type Server, type TLSSocket } from "node:tls";
import { bool, presence, text, withHint, type z } from "../config/schema.ts";
import type { Clock, Timer } from "../telemetry/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import { checkTls, contextOptions, fingerprintOf, type Material, messageOf, pem, tlsShape } from "./tls-material.ts";

/** The section `tls` of a server; undefined when the key is absent: plain text. */
export const tlsServerSection = () =>
  presence({
    ...tlsShape(),
    client_ca_file: text(""),
    client_ca_file_reload: bool(false),
  }).check((ctx) => {
    const config = ctx.value;
    if (config === undefined) return;
    checkTls({ value: config, issues: ctx.issues });
    if (config.cert_file !== "" || config.cert_pem !== "" || config.key_file !== "" || config.key_pem !== undefined)
      return;
    ctx.issues.push({
      code: "custom",
      input: config,
      message: withHint(
        "TLS configuration must include both certificate and key for server connections",
        "add cert_file and key_file, or remove the tls section",
      ),
    });
  });

const schema = tlsServerSection();
/** What the section decodes to. */
export type TlsServerConfig = NonNullable<z.output<typeof schema>>;

/** How often files are looked at for `client_ca_file_reload` alone. */
const CLIENT_CA_CHECK_MS = 10_000;

/**
 * The certificates of one server: read before it listens, and again every `reload_interval` (configtls reads them at the
 * first handshake after that time; here a timer does). A file that cannot be read later is logged and the old one stays.
 */
export class TlsServerSource {
  readonly #config: TlsServerConfig;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #fingerprint = "";
  #timer: Timer | undefined;

  constructor(config: TlsServerConfig, clock: Clock, logger: Logger) {
    this.#config = config;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** `client_ca_file` asks clients for a certificate and takes no connection without one (RequireAndVerifyClientCert). */
  get clientVerification(): { readonly requestCert: boolean; readonly rejectUnauthorized: boolean } {
    const required = this.#config.client_ca_file !== "";
    return { requestCert: required, rejectUnauthorized: required };
  }

  /** Gives `server` its certificates, now and whenever the files change. @throws Error that names setting and file */
  async secure(server: Pick<Server, "setSecureContext">): Promise<void> {
    const material = await this.#read();
    this.#apply(server, material);
    this.#watch(server);
  }

  /** Stops looking at the files. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #watch(server: Pick<Server, "setSecureContext">): void {
    const { reload_interval, client_ca_file_reload } = this.#config;
    const everyMs = reload_interval || (client_ca_file_reload ? CLIENT_CA_CHECK_MS : 0);
    if (everyMs === 0) return;
    this.#timer = this.#clock.after(everyMs, () => {
      void this.#reload(server).finally(() => {
        if (this.#timer) this.#watch(server);
      });
    });
  }

  async #reload(server: Pick<Server, "setSecureContext">): Promise<void> {
    try {
      const material = await this.#read();
      if (fingerprintOf(material) !== this.#fingerprint) this.#apply(server, material);
    } catch (error) {
      this.#logger.error("certificates could not be read again; the ones read before stay in use", { error });
    }
  }

  async #read(): Promise<Material> {
    const { client_ca_file, cert_file, cert_pem, key_file, key_pem } = this.#config;
    return {
      ca: client_ca_file === "" ? [] : [await pem("client_ca_file", client_ca_file, "")],
      cert: await pem("cert_file", cert_file, cert_pem),
      key: await pem("key_file", key_file, key_pem?.reveal() ?? ""),
    };
  }

  #apply(server: Pick<Server, "setSecureContext">, material: Material): void {
    const options: SecureContextOptions = contextOptions(this.#config, material);
    try {
      createSecureContext(options);
      server.setSecureContext(options);
    } catch (error) {
      throw new Error(
        `failed to load TLS config: ${messageOf(error)}; check tls::cert_file, key_file and client_ca_file`,
        {
          cause: error,
        },
      );
    }
    this.#fingerprint = fingerprintOf(material);
  }
}

/** Why a handshake failed, for the log: the reason alone, of a certificate that was refused too, where Node only says that the connection is gone. */
export function handshakeProblem(error: Error, socket: Socket): string {
  const refused = (socket as TLSSocket).authorizationError as unknown;
  if (refused)
    return `TLS handshake failed: the client's certificate is refused: ${messageOf(refused)} (tls::client_ca_file)`;
  // OpenSSL's text has an address of memory, file names and lines.
  const reason = error.message.replace(/^.*?[0-9A-F]{8,16}:error:[0-9A-F]+:([^:]*):[^:]*:([^:]*):.*$/s, "$1: $2");
  return `TLS handshake failed: ${reason}`;
}

/** Who failed. A TLS socket that Node has closed does not know any more; the connection under it does, where `rememberPeer` was asked to. */
export function handshakePeer(socket: Socket): Socket {
  // Not in Node's documentation, and there since 0.12: without it the log would not say who came.
  const under = (socket as Socket & { readonly _parent?: Socket | null })._parent;
  return socket.remoteAddress === undefined ? (under ?? socket) : socket;
}

/** Makes a connection keep its peer's address after it is closed: Node does once it was asked. */
export function rememberPeer(socket: Socket): void {
  void socket.remoteAddress;
}
