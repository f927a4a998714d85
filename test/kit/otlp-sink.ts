import { Metadata, Server, ServerCredentials, status } from "@grpc/grpc-js";
import type { Signal } from "../../src/kernel/api.ts";
import { WireWriter } from "../../src/pdata/wire.ts";
import { PATIENCE_MS } from "./process.ts";

/** A request as it came: the message's bytes after gRPC's own decompression. */
export interface SunkRequest {
  readonly signal: Signal;
  readonly bytes: Buffer;
  readonly metadata: Readonly<Record<string, readonly string[]>>;
  readonly receivedUnixMs: number;
}

/**
 * What to do instead of answering OK. `code` answers with that gRPC status (`retryDelayMs` adds google.rpc.RetryInfo);
 * "hang" never answers; "lose-answer" records the request and then fails the call, as a backend that dies in between;
 * "delay" answers OK after `ms`.
 */
export type SinkFault =
  | { readonly kind: "code"; readonly code: status; readonly message?: string; readonly retryDelayMs?: number }
  | { readonly kind: "hang" }
  | { readonly kind: "lose-answer" }
  | { readonly kind: "delay"; readonly ms: number };

/** Asked for each request; undefined answers OK. `index` counts requests from 0, refused ones too. */
export type FaultPlan = (request: SunkRequest, index: number) => SinkFault | undefined;

const services: Readonly<Record<Signal, string>> = {
  traces: "opentelemetry.proto.collector.trace.v1.TraceService",
  metrics: "opentelemetry.proto.collector.metrics.v1.MetricsService",
  logs: "opentelemetry.proto.collector.logs.v1.LogsService",
};

const asIs = (bytes: Buffer): Buffer => bytes;

/** google.rpc.Status with a RetryInfo: Status.code=1, message=2, details=3; Any.type_url=1, value=2; RetryInfo.retry_delay=1; Duration.seconds=1, nanos=2. */
function retryInfo(code: number, message: string, delayMs: number): Buffer {
  return new WireWriter()
    .uint(1, code)
    .string(2, message)
    .message(3, (any) =>
      any
        .string(1, "type.googleapis.com/google.rpc.RetryInfo")
        .message(2, (info) =>
          info.message(1, (delay) => delay.uint(1, Math.floor(delayMs / 1000)).uint(2, (delayMs % 1000) * 1_000_000)),
        ),
    )
    .finish();
}

/**
 * An OTLP/gRPC backend on 127.0.0.1 that keeps every accepted request of all three signals as bytes. It is grpc-js,
 * not the program's own gRPC layer, so that a fault there shows.
 */
export class OtlpSink {
  /** Requests that were answered OK, or recorded before their answer was lost; in order of arrival. */
  readonly accepted: SunkRequest[] = [];
  /** Every request, refused ones too. */
  seen = 0;
  /** May be changed at any time. */
  faults: FaultPlan | undefined;
  readonly #server: Server;
  #port = 0;
  readonly #watchers = new Set<() => void>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Listens on `port`, or on any free one: a second sink on the first one's port is a backend that came back. */
  static async start(options: { port?: number; faults?: FaultPlan } = {}): Promise<OtlpSink> {
    const server = new Server({ "grpc.max_receive_message_length": -1, "grpc.so_reuseport": 0 });
    const sink = new OtlpSink(server);
    sink.faults = options.faults;
    for (const signal of Object.keys(services) as Signal[])
      server.addService(
        {
          export: {
            path: `/${services[signal]}/Export`,
            requestStream: false,
            responseStream: false,
            requestSerialize: asIs,
            requestDeserialize: asIs,
            responseSerialize: asIs,
            responseDeserialize: asIs,
          },
        },
        {
          export: (
            call: { request: Buffer; metadata: Metadata },
            answer: (error: { code: status; details: string; metadata?: Metadata } | null, reply?: Buffer) => void,
          ) => sink.#take(signal, call.request, call.metadata, answer),
        },
      );
    sink.#port = await new Promise<number>((resolve, reject) =>
      server.bindAsync(`127.0.0.1:${options.port ?? 0}`, ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      ),
    );
    return sink;
  }

  get port(): number {
    return this.#port;
  }

  /** "127.0.0.1:PORT", for an exporter's `endpoint`. */
  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** All accepted requests of `signal` as one: concatenated OTLP requests are one request. */
  bytes(signal: Signal): Buffer {
    return Buffer.concat(this.accepted.filter((request) => request.signal === signal).map(({ bytes }) => bytes));
  }

  /** Resolves when `done` holds, looked at after every request; rejects after `timeoutMs`. */
  async until(what: string, done: (sink: this) => boolean, timeoutMs = PATIENCE_MS): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#watchers.delete(look);
        reject(
          new Error(`sink: ${timeoutMs} ms passed before ${what}: ${this.accepted.length} accepted, ${this.seen} seen`),
        );
      }, timeoutMs);
      const look = (): void => {
        if (!done(this)) return;
        clearTimeout(timer);
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
  }

  /** Refuses new calls, cuts the open ones and frees the port. Idempotent. */
  async close(): Promise<void> {
    this.#server.forceShutdown();
    await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
  }

  #take(
    signal: Signal,
    bytes: Buffer,
    metadata: Metadata,
    answer: (error: { code: status; details: string; metadata?: Metadata } | null, reply?: Buffer) => void,
  ): void {
    const request: SunkRequest = {
      signal,
      bytes,
      metadata: Object.fromEntries(Object.keys(metadata.getMap()).map((key) => [key, metadata.get(key).map(String)])),
      receivedUnixMs: Date.now(),
    };
    const fault = this.faults?.(request, this.seen);
    this.seen++;
    const ok = (): void => answer(null, Buffer.alloc(0));
    switch (fault?.kind) {
      case undefined:
        this.accepted.push(request);
        ok();
        break;
      case "delay":
        this.accepted.push(request);
        setTimeout(ok, fault.ms);
        break;
      case "lose-answer":
        this.accepted.push(request);
        answer({ code: status.UNAVAILABLE, details: "the answer was lost" });
        break;
      case "code": {
        const message = fault.message ?? `planned fault ${status[fault.code]}`;
        const trailer = new Metadata();
        if (fault.retryDelayMs !== undefined)
          trailer.set("grpc-status-details-bin", retryInfo(fault.code, message, fault.retryDelayMs));
        answer({ code: fault.code, details: message, metadata: trailer });
        break;
      }
      case "hang":
        break;
    }
    for (const look of [...this.#watchers]) look();
  }
}
