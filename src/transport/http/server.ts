/** An HTTP server over node:http with the Collector's settings (confighttp.ServerConfig): limits, decompression, CORS, timeouts. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Http2Server } from "node:http2";
import { createServer as createTlsServer } from "node:https";
import type { Server as NetServer, Socket } from "node:net";
import type { Server as TlsServer } from "node:tls";
import type { ListenAddress, ListenTransport } from "../../config/listen-address.ts";
import type { Clock } from "../../telemetry/clock.ts";
import type { Logger } from "../../telemetry/logger.ts";
import { Throttle } from "../../telemetry/throttle.ts";
import { Budget } from "../budget.ts";
import type { Encoding } from "../compression/decompress.ts";
import { endWith, guardDoor, LINGER_MS, limitConnections, type Peer, type Speech, TLS_ALERT } from "../door.ts";
import { grpcElsewhere } from "../grpc/elsewhere.ts";
import { type Bound, listen } from "../listen.ts";
import type { ServerLimits } from "../server-config.ts";
import { handshakePeer, handshakeProblem, rememberPeer, type TlsServerConfig, TlsServerSource } from "../tls-server.ts";
import { Cors, type CorsOptions } from "./cors.ts";
import { Exchange, type ExchangeHost, type HttpRefusal } from "./exchange.ts";

/** `compression_algorithms` when the file has none: the Collector's newest list, "" being "not compressed". */
export const DEFAULT_COMPRESSIONS = [
  "",
  "gzip",
  "zstd",
  "zlib",
  "snappy",
  "deflate",
  "lz4",
  "x-snappy-framed",
] as const;

const DECODERS: Readonly<Record<(typeof DEFAULT_COMPRESSIONS)[number], Encoding | undefined>> = {
  "": undefined,
  gzip: "gzip",
  zstd: "zstd",
  zlib: "zlib",
  deflate: "zlib",
  snappy: "snappy",
  "x-snappy-framed": "snappy-framed",
  lz4: "lz4",
};

/** How a server is set up. Sizes in bytes; times in milliseconds, 0 = no limit. */
export interface HttpServerOptions {
  readonly address: ListenAddress;
  readonly transport?: ListenTransport;
  /** Key of the address in the file, for errors. */
  readonly key: string;
  readonly maxBodyBytes: number;
  /** Names of DEFAULT_COMPRESSIONS; [] = bodies are not decompressed. */
  readonly compressions: readonly string[];
  readonly includeMetadata: boolean;
  /** Added to every response. */
  readonly responseHeaders: Readonly<Record<string, string>>;
  readonly cors: CorsOptions | undefined;
  readonly keepAlives: boolean;
  readonly readTimeoutMs: number;
  readonly readHeaderTimeoutMs: number;
  readonly writeTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly limits: ServerLimits;
  /** The `tls` section; undefined: plain text. */
  readonly tls?: TlsServerConfig | undefined;
  /** Where gRPC clients should go instead, for wrong-door answers: "OTLP/gRPC is on 127.0.0.1:4317". Asked for when needed: where it is bound is known late. */
  readonly grpcHint: () => string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Answers every request that is not a preflight. It must not throw and must answer. */
  readonly handle: (exchange: Exchange) => void;
  /** A request or connection was turned away before a handler saw it. */
  readonly onRefused?: (reason: HttpRefusal | "wrong_door" | "connections" | "protocol") => void;
}

/** TCP keepalive probes start after this much silence, as Go's default. */
const TCP_KEEPALIVE_MS = 15_000;
/** How exactly timeouts are kept. */
const TIMEOUT_CHECK_MS = 1000;

/** An HTTP server. States: created -> listening -> closing -> closed. */
export class HttpServer implements ExchangeHost {
  readonly maxBodyBytes: number;
  readonly encodings: ReadonlyMap<string, Encoding | undefined>;
  readonly decodes: boolean;
  readonly includeMetadata: boolean;
  readonly budget: Budget;
  readonly #options: HttpServerOptions;
  readonly #server: Server;
  readonly #grpcElsewhere: Http2Server;
  readonly #cors: Cors | undefined;
  readonly #throttle: Throttle;
  readonly #closeSilent: () => void;
  readonly #sockets = new Set<Socket>();
  readonly #tls: TlsServerSource | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.maxBodyBytes = options.maxBodyBytes;
    this.includeMetadata = options.includeMetadata;
    this.budget = new Budget(options.limits.maxInFlightBytes);
    this.decodes = options.compressions.length > 0;
    this.encodings = encodingTable(options.compressions);
    this.#throttle = new Throttle(options.clock);
    this.#cors = options.cors && options.cors.allowedOrigins.length > 0 ? new Cors(options.cors) : undefined;
    const headersMs = options.readHeaderTimeoutMs || options.readTimeoutMs;
    const wholeMs = options.readTimeoutMs || (options.limits.receiveTimeoutMs ?? 0);
    const settings = {
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEPALIVE_MS,
      noDelay: true,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      requestTimeout: wholeMs,
      ...(options.limits.maxHeaderBytes === undefined ? {} : { maxHeaderSize: options.limits.maxHeaderBytes }),
      // Node refuses a time for the headers that is longer than the one for the whole request.
      headersTimeout: wholeMs > 0 ? Math.min(headersMs, wholeMs) : headersMs,
      keepAliveTimeout: options.idleTimeoutMs || options.readTimeoutMs,
    };
    this.#tls = options.tls && new TlsServerSource(options.tls, options.clock, options.logger);
    // HTTP/1.1 only, by ALPN too: a client that offers h2 beside it takes the other.
    this.#server = this.#tls
      ? createTlsServer({ ...settings, ...this.#tls.clientVerification })
      : createServer(settings);
    this.#server.timeout = 0;
    this.#server.on("request", (request, response) => this.#handle(request, response));
    this.#server.on("checkContinue", (request, response) => this.#continue(request, response));
    this.#server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => this.#broken(error, socket));
    this.#server.on("tlsClientError", (error: Error, socket: Socket) =>
      this.#turnAway(handshakePeer(socket), "wrong_door", handshakeProblem(error, socket)),
    );
    limitConnections(this.#server, options.limits.maxConnections, (peer, message) =>
      this.#turnAway(peer, "connections", message),
    );
    this.#grpcElsewhere = grpcElsewhere(
      () => `this is the OTLP/HTTP port, which does not speak gRPC; ${options.grpcHint()}`,
    );
    this.#closeSilent = guardDoor(
      this.#server as unknown as NetServer,
      options.limits.handshakeTimeoutMs,
      (socket, speech, accept) => this.#decide(socket, speech, accept),
    );
  }

  /** True from `close` on. */
  get closing(): boolean {
    return this.#closed !== undefined;
  }

  /** Open connections. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Binds and serves. @throws ListenError, or an Error that names the certificate file that cannot be used */
  async listen(): Promise<Bound> {
    const { address, key, transport } = this.#options;
    if (this.#options.cors && !this.#cors && this.#options.cors.allowedHeaders.length > 0)
      this.#options.logger.warn(
        "The CORS configuration specifies allowed headers but no allowed origins, and is therefore ignored.",
      );
    await this.#tls?.secure(this.#server as unknown as TlsServer);
    const bound = await listen(this.#server, address, key, transport);
    this.#server.on("error", (error) => this.#options.logger.error("the OTLP/HTTP server failed", { error }));
    return bound;
  }

  /** Stops accepting, lets requests in progress be answered, closes; at once when `deadline` aborts. Idempotent. */
  close(deadline: AbortSignal): Promise<void> {
    this.#closed ??= this.#close(deadline);
    return this.#closed;
  }

  refused(reason: HttpRefusal): void {
    this.#options.onRefused?.(reason);
  }

  /**
   * node:http destroys the socket behind the last response, and the kernel then answers what is still coming with a reset,
   * which can overtake the response. So the socket is only half closed, and what comes in the next second is thrown away.
   */
  lingeringClose(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    response.shouldKeepAlive = false;
    socket.destroySoon = () => {
      socket.end();
      request.resume();
      const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
      socket.once("close", () => clearTimeout(timer));
    };
  }

  async #close(deadline: AbortSignal): Promise<void> {
    const stopped = this.#server.listening
      ? new Promise<void>((resolve) => this.#server.close(() => resolve()))
      : Promise.resolve();
    this.#tls?.stop();
    this.#closeSilent();
    this.#server.closeIdleConnections();
    const destroyAll = (): void => {
      for (const socket of this.#sockets) socket.destroy();
    };
    if (deadline.aborted) destroyAll();
    else deadline.addEventListener("abort", destroyAll, { once: true });
    const gone = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    await Promise.all([stopped, ...gone]);
    deadline.removeEventListener("abort", destroyAll);
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const { responseHeaders, keepAlives, writeTimeoutMs } = this.#options;
    for (const name in responseHeaders) response.setHeader(name, responseHeaders[name] as string);
    if (!keepAlives) response.shouldKeepAlive = false;
    if (writeTimeoutMs > 0) this.#limitWrite(request, response, writeTimeoutMs);
    if (this.#cors?.handle(request, response)) return;
    this.#options.handle(new Exchange(request, response, this));
  }

  /** "Expect: 100-continue": the body is asked for only when it may be as long as it says. */
  #continue(request: IncomingMessage, response: ServerResponse): void {
    if (Number(request.headers["content-length"] ?? 0) <= this.maxBodyBytes) response.writeContinue();
    this.#handle(request, response);
  }

  /** WriteTimeout of Go's server: from the end of the headers to the end of the response. */
  #limitWrite(request: IncomingMessage, response: ServerResponse, ms: number): void {
    const timer = this.#options.clock.after(ms, () => request.socket.destroy());
    response.once("close", () => timer.cancel());
  }

  /** What node:http could not parse, or a timeout of its own. */
  #broken(error: NodeJS.ErrnoException, socket: Socket): void {
    if (error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy();
      return;
    }
    this.#options.onRefused?.("protocol");
    const status =
      error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? "408 Request Timeout"
        : error.code === "HPE_HEADER_OVERFLOW"
          ? "431 Request Header Fields Too Large"
          : "400 Bad Request";
    endWith(
      socket,
      `HTTP/1.1 ${status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n${status}`,
    );
  }

  #decide(socket: Socket, speech: Exclude<Speech, "more">, accept: (socket: Socket) => void): void {
    const { tls } = this.#options;
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    if (tls) rememberPeer(socket);
    // What is neither is left to node:http, which answers 400.
    if (tls ? speech === "tls" : speech === "http1" || speech === "other") accept(socket);
    else this.#wrongDoor(socket, speech);
  }

  #wrongDoor(socket: Socket, speech: Exclude<Speech, "more">): void {
    const { tls, grpcHint } = this.#options;
    socket.on("error", () => {});
    if (speech === "http2" && !tls) {
      this.#turnAway(socket, "wrong_door", `a gRPC client came to the OTLP/HTTP port; ${grpcHint()}`);
      // HTTP/1 servers keep half-closed connections open; HTTP/2 has no use for them.
      socket.allowHalfOpen = false;
      this.#grpcElsewhere.emit("connection", socket);
      return;
    }
    if (speech === "tls") {
      this.#turnAway(
        socket,
        "wrong_door",
        "a client opened TLS on the plain-text OTLP/HTTP port: give the client http://, or give this receiver protocols::http::tls with cert_file and key_file",
      );
      endWith(socket, TLS_ALERT);
    } else {
      this.#turnAway(
        socket,
        "wrong_door",
        "a client spoke plain text to the TLS OTLP/HTTP port: give the client https://",
      );
      // The words of Go's server in this case.
      endWith(socket, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
    }
  }

  #turnAway(peer: Peer, reason: "wrong_door" | "connections", message: string): void {
    this.#options.onRefused?.(reason);
    const held = this.#throttle.pass(message)?.held;
    if (held === undefined) return;
    this.#options.logger.warn(message, {
      peer: `${peer.remoteAddress ?? ""}:${peer.remotePort ?? ""}`,
      ...(held > 0 ? { times_since_last_line: held } : {}),
    });
  }
}

/** Names without regard to case; "identity" is what "" is. */
function encodingTable(names: readonly string[]): ReadonlyMap<string, Encoding | undefined> {
  const table = new Map<string, Encoding | undefined>();
  for (const name of names) {
    table.set(name, DECODERS[name as keyof typeof DECODERS]);
    if (name === "") table.set("identity", undefined);
  }
  return table;
}
