/** A client for unary gRPC calls whose messages are bytes; over grpc-js. Knows nothing of what the bytes mean. */
import { type ChannelOptions, Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { connectionHint } from "./connection-hint.ts";
import { gzipOptions } from "./grpc/send-gzip.ts";
import type { TlsClient } from "./tls-client.ts";

/** How to reach the server. Times are milliseconds. */
export interface GrpcClientOptions {
  /** As `parseGrpcTarget` gives it. */
  readonly target: string;
  /** Undefined: no TLS. */
  readonly tls: TlsClient | undefined;
  /** Level of gzip as `compressor` takes it; undefined: no compression. */
  readonly gzip: number | undefined;
  /** Wait for a connection until the deadline instead of failing at once when there is none. */
  readonly waitForReady: boolean;
  readonly balancer: "pick_first" | "round_robin";
  readonly keepalive:
    | { readonly timeMs: number; readonly timeoutMs: number; readonly withoutCalls: boolean }
    | undefined;
  /** The :authority to claim, "" for the target's. */
  readonly authority: string;
  readonly userAgent: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A call that failed: gRPC's status, in the words of grpc-js without its decoration, and what to do about it. */
export class GrpcError extends Error {
  /** google.rpc.Code. */
  readonly code: number;
  /** "Unavailable: connect ECONNREFUSED 127.0.0.1:4317". */
  readonly reason: string;
  /** The encoded google.rpc.Status of `grpc-status-details-bin`, when the server sent one. */
  readonly statusDetails: Uint8Array | undefined;

  constructor(code: number, reason: string, hint: string | undefined, statusDetails: Uint8Array | undefined) {
    super(hint === undefined ? reason : `${reason} (${hint})`);
    this.name = "GrpcError";
    this.code = code;
    this.reason = reason;
    this.statusDetails = statusDetails;
  }
}

/** However long a server was away, it is asked for again this soon after it came back. grpc's own bound is 2 minutes. */
const LONGEST_RECONNECT_MS = 10_000;

/** One channel. Connects on the first call, and again whenever needed. */
export class GrpcClient {
  readonly #client: Client;
  readonly #metadata: Metadata;
  readonly #tls: boolean;

  constructor(options: GrpcClientOptions) {
    const { tls, keepalive, authority } = options;
    const channel: ChannelOptions = {
      "grpc.primary_user_agent": options.userAgent,
      "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ [options.balancer]: {} }] }),
      // What is tried again, and when, is the exporter's to say (retry_on_failure).
      "grpc.enable_retries": 0,
      "grpc.max_reconnect_backoff_ms": LONGEST_RECONNECT_MS,
      // Two exporters to one server have connections of their own: one that hangs stalls itself alone.
      "grpc.use_local_subchannel_pool": 1,
      ...(options.gzip === undefined ? {} : gzipOptions(options.gzip)),
      ...(keepalive
        ? {
            "grpc.keepalive_time_ms": keepalive.timeMs,
            "grpc.keepalive_timeout_ms": keepalive.timeoutMs,
            "grpc.keepalive_permit_without_calls": keepalive.withoutCalls ? 1 : 0,
          }
        : {}),
      ...(tls?.serverName
        ? { "grpc.ssl_target_name_override": tls.serverName, "grpc.default_authority": tls.serverName }
        : {}),
      ...(authority === "" ? {} : { "grpc.default_authority": authority }),
    };
    const secrets = tls
      ? credentials.createFromSecureContext(tls.secureContext, { rejectUnauthorized: tls.rejectUnauthorized })
      : credentials.createInsecure();
    this.#tls = tls !== undefined;
    this.#client = new Client(options.target, secrets, channel);
    this.#metadata = new Metadata({ waitForReady: options.waitForReady });
    for (const [key, value] of Object.entries(options.headers)) this.#metadata.set(key, value);
  }

  /**
   * One call, with `headers` beside those of all calls. `deadlineMs` from now is sent along, so that the server can stop too; 0 sends none.
   * @throws GrpcError
   */
  call(
    path: string,
    message: Uint8Array,
    deadlineMs: number,
    signal: AbortSignal,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Uint8Array> {
    let metadata = this.#metadata;
    if (headers) {
      metadata = metadata.clone();
      for (const [key, value] of Object.entries(headers)) metadata.set(key, value);
    }
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(new GrpcError(status.CANCELLED, "Cancelled: aborted", undefined, undefined));
      const onAbort = (): void => call.cancel();
      const call = this.#client.makeUnaryRequest(
        path,
        asIs,
        asIs,
        Buffer.from(message.buffer, message.byteOffset, message.byteLength),
        metadata,
        deadlineMs > 0 ? { deadline: Date.now() + deadlineMs } : {},
        (error, answer) => {
          signal.removeEventListener("abort", onAbort);
          if (error) reject(this.#toError(error));
          else resolve(answer ?? Buffer.alloc(0));
        },
      );
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Lets calls under way end; new ones fail. */
  close(): void {
    this.#client.close();
  }

  #toError(error: ServiceError): GrpcError {
    const reason = `${CODE_NAMES[error.code] ?? error.code}: ${plainDetails(error.details)}`;
    const details = error.metadata?.get("grpc-status-details-bin")[0];
    const hint =
      error.code === status.UNAVAILABLE
        ? connectionHint(error.details, { tls: this.#tls, protocol: "grpc" })
        : undefined;
    return new GrpcError(error.code, reason, hint, Buffer.isBuffer(details) ? details : undefined);
  }
}

const asIs = (bytes: Buffer): Buffer => bytes;

/** "DEADLINE_EXCEEDED" -> "DeadlineExceeded", as grpc-go and so the Collector print codes. */
const CODE_NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(status)
    .filter((entry): entry is [string, number] => typeof entry[1] === "number")
    .map(([name, code]) => [
      code,
      name.replace(/([A-Z])([A-Z]*)_?/g, (_, first: string, rest: string) => first + rest.toLowerCase()),
    ]),
);

/** grpc-js wraps what happened in its balancers' words, OpenSSL in file names; the cause alone is left. */
function plainDetails(details: string): string {
  return details
    .replace(/^.*Last error: /s, "")
    .replace(/\.? Resolution note:.*$/s, "")
    .replace(/^Error(?: \[(\w+)\])?: /, "")
    .replace(/^[0-9A-F]{16}:error:[0-9A-F]+:([^:]*):[^:]*:([^:]*):.*$/s, "$1: $2")
    .replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)/, "")
    .trim();
}
