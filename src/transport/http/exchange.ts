/** One HTTP request and its response. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Budget } from "../budget.ts";
import { decompress, type Encoding, TooLargeError } from "../compression/decompress.ts";

/** What an exchange needs to know of its server. */
export interface ExchangeHost {
  readonly maxBodyBytes: number;
  /** Content-Encoding (lower case) -> decoder; undefined = not compressed. An encoding without a key is refused. */
  readonly encodings: ReadonlyMap<string, Encoding | undefined>;
  /** False: `compression_algorithms: []`, the body is handed on as it is. */
  readonly decodes: boolean;
  readonly includeMetadata: boolean;
  readonly budget: Budget;
  /** True when connections are to be closed behind their response. */
  readonly closing: boolean;
  refused(reason: HttpRefusal): void;
  /** Closes the connection behind the response of an exchange whose request was not read to its end. */
  lingeringClose(request: IncomingMessage, response: ServerResponse): void;
}

/** Why a request was refused before its handler saw it: a closed set, for metrics. */
export type HttpRefusal = "in_flight" | "body";

/** A request's body cannot be had. */
export class HttpError extends Error {
  /** 400, 413 or 503. */
  readonly status: number;
  readonly retryAfterMs: number | undefined;

  constructor(status: number, message: string, retryAfterMs?: number) {
    super(message);
    this.name = "HttpError";
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The client went away before its request was complete: there is nobody to answer. */
export class GoneError extends Error {
  constructor() {
    super("the client closed the connection");
    this.name = "GoneError";
  }
}

/** How long a client should wait when the server holds as much as it may. */
const IN_FLIGHT_RETRY_MS = 1000;

/** What is left of a request that was answered early is read up to this, as Go's server does (maxPostHandlerReadBytes). */
const SHORT_REST_BYTES = 256 * 1024;

const EMPTY = Buffer.alloc(0);

/** States: fresh -> body read (or failed) -> answered. Bytes held for it are given back when it is answered or the client is gone. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly #host: ExchangeHost;
  #held = 0;
  #abort: AbortController | undefined;
  #done = false;

  constructor(request: IncomingMessage, response: ServerResponse, host: ExchangeHost) {
    this.request = request;
    this.response = response;
    this.#host = host;
    response.once("close", () => this.#closed());
  }

  /** The path without query, doubled slashes and trailing slash: "/v1/traces". */
  get path(): string {
    const url = this.request.url ?? "/";
    const end = url.search(/[?#]/);
    const path = end < 0 ? url : url.slice(0, end);
    return path.length > 1 && (path.endsWith("/") || path.includes("//"))
      ? path.replace(/\/{2,}/g, "/").replace(/(.)\/$/, "$1")
      : path;
  }

  /** The media type of the body in lower case, without parameters; "" when there is none (mime.ParseMediaType). */
  get mediaType(): string {
    const type = this.request.headers["content-type"] ?? "";
    const end = type.indexOf(";");
    return (end < 0 ? type : type.slice(0, end)).trim().toLowerCase();
  }

  /** "10.0.0.1:53412"; "" for a Unix socket. */
  get peer(): string {
    const { remoteAddress, remotePort } = this.request.socket;
    return remoteAddress === undefined ? "" : `${remoteAddress.replace(/^::ffff:/, "")}:${remotePort}`;
  }

  /** Request headers, lower-case keys; only with `includeMetadata`. */
  get metadata(): ReadonlyMap<string, readonly string[]> | undefined {
    if (!this.#host.includeMetadata) return undefined;
    return new Map(
      Object.entries(this.request.headersDistinct).filter(
        (entry): entry is [string, string[]] => entry[1] !== undefined,
      ),
    );
  }

  /** Aborted when the client goes away before it is answered. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#done && !this.response.writableEnded) this.#abort.abort();
    return this.#abort.signal;
  }

  /**
   * The body, decompressed, at most `maxBodyBytes` of it.
   * @throws HttpError with 413 when it is larger, 400 when it cannot be decoded, 503 when the server holds as much as it
   * may; GoneError.
   */
  async readBody(): Promise<Uint8Array> {
    const { encodings, decodes, maxBodyBytes } = this.#host;
    let encoding: Encoding | undefined;
    if (decodes) {
      const named = this.request.headers["content-encoding"] ?? "";
      const key = named.trim().toLowerCase();
      if (!encodings.has(key)) throw this.#refuse(400, `unsupported Content-Encoding: ${named}`);
      encoding = encodings.get(key);
    }
    const raw = await this.#collect();
    if (encoding === undefined) return raw;
    try {
      const decoded = decompress(encoding, raw, maxBodyBytes);
      const plain = decoded instanceof Promise ? await decoded : decoded;
      if (this.#done) throw new GoneError();
      this.#held += plain.length;
      this.#host.budget.overdraw(plain.length);
      return plain;
    } catch (error) {
      if (error instanceof GoneError) throw error;
      throw error instanceof TooLargeError
        ? this.#refuse(
            413,
            `http: request body too large: more than ${maxBodyBytes} bytes when decompressed (max_request_body_size)`,
          )
        : this.#refuse(400, (error as Error).message);
    }
  }

  /** Answers. Headers given here win over the server's own. Does nothing when the client is gone or was answered. */
  respond(
    status: number,
    contentType: string,
    body: string | Uint8Array,
    headers: Readonly<Record<string, string>> = NO_HEADERS,
  ): void {
    const { request, response } = this;
    if (response.writableEnded || response.destroyed) return;
    const length = typeof body === "string" ? Buffer.byteLength(body) : body.length;
    if (!request.complete && !this.#restIsShort()) this.#host.lingeringClose(request, response);
    if (this.#host.closing) response.shouldKeepAlive = false;
    response.writeHead(status, { "Content-Type": contentType, "Content-Length": length, ...headers });
    response.end(request.method === "HEAD" ? EMPTY : body);
    this.#release();
  }

  /** True when node:http may read the rest of the body away and keep the connection. */
  #restIsShort(): boolean {
    const declared = this.request.headers["content-length"];
    return declared !== undefined && Number(declared) <= SHORT_REST_BYTES;
  }

  #collect(): Promise<Buffer> {
    const { request } = this;
    const { maxBodyBytes, budget } = this.#host;
    const declared = Number(request.headers["content-length"] ?? 0);
    if (declared > maxBodyBytes) return Promise.reject(this.#tooLarge());
    return new Promise((resolve, reject) => {
      let chunks: Buffer[] | undefined;
      let first: Buffer | undefined;
      let size = 0;
      const fail = (error: Error): void => {
        request.removeAllListeners("data");
        reject(error);
      };
      request.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxBodyBytes) {
          fail(this.#tooLarge());
        } else if (!budget.take(chunk.length)) {
          this.#host.refused("in_flight");
          fail(
            new HttpError(
              503,
              `requests in progress hold ${budget.limit} bytes, the most this server takes at once (max_in_flight_mib); try again`,
              IN_FLIGHT_RETRY_MS,
            ),
          );
        } else {
          this.#held += chunk.length;
          if (first === undefined) first = chunk;
          else if (chunks === undefined) chunks = [first, chunk];
          else chunks.push(chunk);
        }
      });
      request.once("end", () => resolve(chunks ? Buffer.concat(chunks, size) : (first ?? EMPTY)));
      const gone = (): void => {
        if (!request.complete) reject(new GoneError());
      };
      request.once("close", gone).once("error", gone);
    });
  }

  #tooLarge(): HttpError {
    return this.#refuse(
      413,
      `http: request body too large: more than ${this.#host.maxBodyBytes} bytes (max_request_body_size)`,
    );
  }

  #refuse(status: number, message: string): HttpError {
    this.#host.refused("body");
    return new HttpError(status, message);
  }

  #closed(): void {
    if (!this.response.writableEnded) this.#abort?.abort();
    this.#release();
  }

  #release(): void {
    this.#done = true;
    this.#host.budget.give(this.#held);
    this.#held = 0;
  }
}

const NO_HEADERS: Readonly<Record<string, string>> = {};
