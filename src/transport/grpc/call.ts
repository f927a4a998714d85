/** One unary (or server-streaming) gRPC call over an HTTP/2 stream. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import { formatDuration } from "../../config/schema.ts";
import type { Clock, Timer } from "../../telemetry/clock.ts";
import type { Authenticate } from "../auth.ts";
import type { Budget } from "../budget.ts";
import { decompress, type Encoding, TooLargeError } from "../compression/decompress.ts";
import { EMPTY_MESSAGE, frame, MessageReader } from "./framing.ts";
import type { GrpcCall, GrpcMethod } from "./method.ts";
import { HttpRefusal, judgeRequest } from "./request.ts";
import { errorTrailers, GrpcCode, GrpcError } from "./status.ts";

/** What a call needs to know of the server and of its connection. */
export interface CallHost {
  /** "/package.Service/Method" -> method. */
  readonly methods: ReadonlyMap<string, GrpcMethod>;
  readonly maxMessageBytes: number;
  readonly includeMetadata: boolean;
  readonly clock: Clock;
  readonly budget: Budget;
  /** How long a message may take to arrive; 0: for ever. */
  readonly receiveTimeoutMs: number;
  /** Names and values of a request's headers together, as HTTP/2 counts them without its 32 bytes each. */
  readonly maxHeaderBytes: number;
  readonly peer: string;
  /** Something goes out to the client. */
  sent(): void;
  /** The call's stream is closed. */
  ended(call: Call): void;
  /** A request was refused before its handler saw it. */
  refused(reason: Refusal): void;
}

/** Why a request was refused before its handler saw it: a closed set, for metrics. */
export type Refusal = "in_flight" | "message" | "protocol" | "slow";

/** How long a client should wait when the server holds as much as it may. */
const IN_FLIGHT_RETRY_MS = 1000;

const RESPONSE_HEADERS = { ":status": 200, "content-type": "application/grpc" };
const OK_TRAILERS = { "grpc-status": "0" };

/**
 * States: reading (the message is not complete) -> handling -> done. A deadline, a vanished client or the server's stop
 * leads from any state to done; a handler that settles after that changes nothing.
 */
export class Call implements GrpcCall {
  readonly #stream: ServerHttp2Stream;
  readonly #host: CallHost;
  readonly #headers: IncomingHttpHeaders;
  #method: GrpcMethod | undefined;
  #reader: MessageReader | undefined;
  /** Undefined: identity. */
  #encoding: Encoding | undefined;
  #state: "reading" | "handling" | "done" = "reading";
  #deadline: Timer | undefined;
  /** Runs while the message arrives. */
  #arrival: Timer | undefined;
  #abort: AbortController | undefined;
  #aborted = false;
  #held = 0;
  #sentHeaders = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, host: CallHost) {
    this.#stream = stream;
    this.#headers = headers;
    this.#host = host;
    stream.on("error", ignore);
    stream.on("close", () => this.#closed());
  }

  get peer(): string {
    return this.#host.peer;
  }

  get metadata(): ReadonlyMap<string, readonly string[]> | undefined {
    if (!this.#host.includeMetadata) return undefined;
    const out = new Map<string, readonly string[]>();
    for (const [name, value] of Object.entries(this.#headers))
      if (value !== undefined && !name.startsWith(":")) out.set(name, Array.isArray(value) ? value : [String(value)]);
    const authority = this.#headers[":authority"];
    if (authority !== undefined) out.set(":authority", [authority]);
    if (authority !== undefined && !out.has("host")) out.set("host", [authority]);
    return out;
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#aborted) this.#abort.abort();
    return this.#abort.signal;
  }

  /** Judges the request's headers and starts reading, or answers at once. */
  open(): void {
    if (headerBytes(this.#headers) > this.#host.maxHeaderBytes) {
      this.#host.refused("protocol");
      this.#fail(
        new GrpcError(
          GrpcCode.RESOURCE_EXHAUSTED,
          `the request has more than ${this.#host.maxHeaderBytes} bytes of headers (max_header_size)`,
        ),
      );
      return;
    }
    const judged = judgeRequest(this.#headers, this.#host.methods);
    if (judged instanceof GrpcError) {
      this.#fail(judged);
      return;
    }
    this.#method = judged.method;
    this.#encoding = judged.encoding;
    if (judged.timeoutMs !== undefined)
      this.#deadline = this.#host.clock.after(judged.timeoutMs, () =>
        this.#fail(new GrpcError(GrpcCode.DEADLINE_EXCEEDED, "context deadline exceeded")),
      );
    this.#reader = new MessageReader(this.#host.maxMessageBytes);
    if (judged.method.authenticate) void this.#authenticate(judged.method.authenticate);
    else this.#receive();
  }

  async #authenticate(authenticate: Authenticate): Promise<void> {
    try {
      await authenticate((name) => {
        const value = this.#headers[name];
        return Array.isArray(value) ? value[0] : value;
      });
    } catch (error) {
      this.#fail(
        error instanceof GrpcError ? error : new GrpcError(GrpcCode.UNAUTHENTICATED, (error as Error).message),
      );
      return;
    }
    if (this.#state === "reading") this.#receive();
  }

  #receive(): void {
    const { clock, receiveTimeoutMs } = this.#host;
    if (receiveTimeoutMs > 0)
      this.#arrival = clock.after(receiveTimeoutMs, () => {
        this.#host.refused("slow");
        this.#fail(
          new GrpcError(
            GrpcCode.DEADLINE_EXCEEDED,
            `the request has not arrived within ${formatDuration(receiveTimeoutMs)} (receive_timeout)`,
          ),
        );
      });
    this.#stream.on("data", (chunk: Buffer) => this.#read(chunk));
    this.#stream.on("end", () => this.#ended());
  }

  send(message: Uint8Array): void {
    if (this.#state === "done" || this.#stream.destroyed) return;
    this.#begin();
    this.#stream.write(frame(message));
  }

  /** The server stops and the deadline has passed, or the connection is being ended. */
  cancel(reason: string): void {
    this.#fail(new GrpcError(GrpcCode.UNAVAILABLE, reason));
  }

  /** True for calls that would not end by themselves. */
  get endless(): boolean {
    return this.#method?.serverStreaming === true;
  }

  #read(chunk: Buffer): void {
    if (this.#state !== "reading") return;
    const reader = this.#reader as MessageReader;
    if (!this.#host.budget.take(chunk.length)) {
      this.#host.refused("in_flight");
      this.#fail(
        new GrpcError(
          GrpcCode.UNAVAILABLE,
          `requests in progress hold ${this.#host.budget.limit} bytes, the most this server takes at once (max_in_flight_mib); try again`,
          IN_FLIGHT_RETRY_MS,
        ),
      );
      return;
    }
    this.#held += chunk.length;
    try {
      const message = reader.push(chunk);
      if (message) void this.#handle(message, reader.compressed);
    } catch (error) {
      this.#host.refused("message");
      this.#fail(error as GrpcError);
    }
  }

  #ended(): void {
    if (this.#state === "reading") this.#fail((this.#reader as MessageReader).ended());
  }

  async #handle(message: Uint8Array, compressed: boolean): Promise<void> {
    this.#state = "handling";
    this.#arrival?.cancel();
    try {
      let request = message;
      if (compressed) {
        const plain = this.#decompress(message);
        request = plain instanceof Promise ? await plain : plain;
        // Answered in the meantime: by a deadline, or because the server has stopped and nothing may follow.
        if (this.#state !== "handling") return;
        this.#held += request.length;
        this.#host.budget.overdraw(request.length);
      }
      const method = this.#method as GrpcMethod;
      const answer = method.handle(request, this);
      const response = answer instanceof Promise ? await answer : answer;
      if (method.serverStreaming) this.#finish();
      else this.#succeed(response);
    } catch (error) {
      this.#fail(
        error instanceof GrpcError
          ? error
          : new GrpcError(GrpcCode.UNKNOWN, String((error as Error)?.message ?? error)),
      );
    }
  }

  #decompress(message: Uint8Array): Uint8Array | Promise<Uint8Array> {
    if (!this.#encoding)
      throw new GrpcError(GrpcCode.INTERNAL, "grpc: compressed flag set with identity or empty encoding");
    const limit = this.#host.maxMessageBytes;
    try {
      const plain = decompress(this.#encoding, message, limit);
      return plain instanceof Promise
        ? plain.catch((error: unknown) => Promise.reject(decompressFailure(error, limit)))
        : plain;
    } catch (error) {
      throw decompressFailure(error, limit);
    }
  }

  #begin(): void {
    if (this.#sentHeaders) return;
    this.#sentHeaders = true;
    this.#host.sent();
    this.#stream.respond(RESPONSE_HEADERS, { waitForTrailers: true });
    this.#stream.on("wantTrailers", sendOkTrailers);
  }

  #succeed(response: Uint8Array): void {
    if (!this.#settle()) return;
    this.#begin();
    this.#stream.end(response.length === 0 ? EMPTY_MESSAGE : frame(response));
    this.#discardRest();
  }

  #finish(): void {
    if (!this.#settle()) return;
    this.#begin();
    this.#stream.end();
    this.#discardRest();
  }

  #fail(error: GrpcError): void {
    if (this.#state === "done") return;
    const open = this.#settle();
    this.#abandon();
    if (!open) return;
    this.#host.sent();
    if (this.#sentHeaders) {
      const trailers = errorTrailers(error);
      this.#stream.off("wantTrailers", sendOkTrailers);
      this.#stream.on("wantTrailers", () => this.#stream.sendTrailers(trailers));
      this.#stream.end();
    } else {
      const status = error instanceof HttpRefusal ? error.status : 200;
      this.#stream.respond({ ...RESPONSE_HEADERS, ":status": status, ...errorTrailers(error) }, { endStream: true });
    }
    this.#discardRest();
  }

  /** Enters "done"; false when it is too late to answer. */
  #settle(): boolean {
    if (this.#state === "done") return false;
    this.#state = "done";
    this.#deadline?.cancel();
    this.#arrival?.cancel();
    this.#release();
    return !this.#stream.destroyed && !this.#stream.closed;
  }

  /** Tells a client that is still sending to stop: RST_STREAM with NO_ERROR behind the response (RFC 9113, section 8.1). */
  #discardRest(): void {
    const stream = this.#stream;
    if (stream.readableEnded || stream.destroyed) return;
    stream.resume();
    // The end of the request may be in the same read as its last byte: look again when that has been gone through.
    setImmediate(() => {
      if (!stream.readableEnded && !stream.closed) stream.close(constants.NGHTTP2_NO_ERROR);
    });
  }

  #abandon(): void {
    this.#aborted = true;
    this.#abort?.abort();
  }

  #closed(): void {
    this.#deadline?.cancel();
    this.#arrival?.cancel();
    if (this.#state !== "done") {
      this.#state = "done";
      this.#abandon();
      this.#release();
    }
    this.#host.ended(this);
  }

  #release(): void {
    this.#host.budget.give(this.#held);
    this.#held = 0;
  }
}

function headerBytes(headers: IncomingHttpHeaders): number {
  let bytes = 0;
  for (const name in headers) {
    const value = headers[name];
    if (typeof value === "string") bytes += name.length + value.length;
    else for (const one of value ?? []) bytes += name.length + one.length;
  }
  return bytes;
}

function sendOkTrailers(this: ServerHttp2Stream): void {
  this.sendTrailers(OK_TRAILERS);
}

/** A stream's error is its peer's doing and shows as "close", which every call handles. */
function ignore(): void {}

function decompressFailure(error: unknown, limit: number): GrpcError {
  return error instanceof TooLargeError
    ? new GrpcError(GrpcCode.RESOURCE_EXHAUSTED, `grpc: received message after decompression larger than max ${limit}`)
    : new GrpcError(GrpcCode.INTERNAL, `grpc: failed to read decompressed data: ${(error as Error).message}`);
}
