/** Senders that never stop, and the sink's view of what they sent: the two sides of every figure. */
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { LEN, WireCursor, WireWriter } from "../../src/pdata/wire.ts";
import type { OtlpSink } from "../kit/otlp-sink.ts";

const SPANS_A_REQUEST = 20;
const PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/** What the SDKs give an export. */
const TIMEOUT_MS = 10_000;
/** Pause of a worker after a refusal. */
const REST_MS = 25;
const TEXT = "a span's attribute of about the length that they have, ".repeat(3);

/** What became of the spans of a load, seen by the senders. */
export interface SentFigures {
  readonly sent: number;
  readonly acknowledged: number;
  readonly refused: number;
}

/** Spans are numbered from 1; the number is the span id. */
function request(numbers: readonly number[], traceId: Buffer): Buffer {
  return new WireWriter()
    .message(1, (resource) =>
      resource.message(2, (scope) => {
        for (const number of numbers) {
          const spanId = Buffer.alloc(8);
          spanId.writeBigUInt64BE(BigInt(number));
          scope.message(2, (span) =>
            span
              .bytes(1, traceId)
              .bytes(2, spanId)
              .string(5, "load")
              .fixed64(7, 1_795_000_000_000_000_000n)
              .fixed64(8, 1_795_000_000_100_000_000n)
              .message(9, (pair) => pair.string(1, "text").message(2, (value) => value.string(1, TEXT))),
          );
        }
      }),
    )
    .finish();
}

/** Sends one request; rejects unless it was acknowledged. */
type Send = (body: Buffer) => Promise<void>;

/** A sender over one protocol that goes on through refusals and broken connections until stopped. */
class Sender {
  readonly acknowledged = new Set<number>();
  refused = 0;
  sent = 0;
  /** What refusals said, and how often. */
  readonly reasons = new Map<string, number>();
  readonly #workers: Promise<void>[];
  #isStopped = false;

  constructor(send: Send, nextNumber: () => number, traceId: Buffer, options: { workers: number; pauseMs: number }) {
    const { workers, pauseMs } = options;
    this.#workers = Array.from({ length: workers }, async () => {
      while (!this.#isStopped) {
        const numbers = Array.from({ length: SPANS_A_REQUEST }, nextNumber);
        this.sent += numbers.length;
        try {
          await send(request(numbers, traceId));
          for (const number of numbers) this.acknowledged.add(number);
          await pause(pauseMs);
        } catch (error) {
          this.refused += numbers.length;
          const reason = (error as Error).message.slice(0, 60);
          this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
          await pause(REST_MS);
        }
      }
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#workers);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Two senders, one a protocol, against one program that may come and go. */
export class Load {
  readonly #senders: Sender[];
  readonly #close: () => void;
  #number = 0;

  constructor(ports: { grpc: number; http: number }, options = { workers: 4, pauseMs: 4 }) {
    const client = new Client(`127.0.0.1:${ports.grpc}`, credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": 200,
    });
    const asIs = (bytes: Buffer): Buffer => bytes;
    const overGrpc: Send = (body) =>
      new Promise((resolve, reject) =>
        client.makeUnaryRequest(
          PATH,
          asIs,
          asIs,
          body,
          { deadline: Date.now() + TIMEOUT_MS },
          (error: ServiceError | null) => (error ? reject(error) : resolve()),
        ),
      );
    const overHttp: Send = async (body) => {
      const response = await fetch(`http://127.0.0.1:${ports.http}/v1/traces`, {
        method: "POST",
        headers: { "content-type": "application/x-protobuf" },
        body: Uint8Array.from(body),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      await response.arrayBuffer();
      if (response.status !== 200) throw new Error(`HTTP ${response.status}`);
    };
    const next = (): number => ++this.#number;
    this.#senders = [overGrpc, overHttp].map(
      (send, index) => new Sender(send, next, Buffer.alloc(16, index + 1), options),
    );
    this.#close = () => client.close();
  }

  get figures(): SentFigures {
    const sum = (read: (sender: Sender) => number): number =>
      this.#senders.reduce((total, one) => total + read(one), 0);
    return {
      sent: sum((sender) => sender.sent),
      acknowledged: sum((sender) => sender.acknowledged.size),
      refused: sum((sender) => sender.refused),
    };
  }

  get acknowledged(): ReadonlySet<number>[] {
    return this.#senders.map((sender) => sender.acknowledged);
  }

  get reasons(): ReadonlyMap<string, number>[] {
    return this.#senders.map((sender) => sender.reasons);
  }

  /** Resolves when every request was answered or given up. */
  async stop(): Promise<void> {
    await Promise.all(this.#senders.map((sender) => sender.stop()));
    this.#close();
  }
}

/** Counts what came to a sink, span by span, and keeps no bytes. */
export class Census {
  readonly #sink: OtlpSink;
  /** Span number -> how often it came. */
  readonly #seen = new Map<number, number>();

  constructor(sink: OtlpSink) {
    this.#sink = sink;
  }

  /** Takes over what the sink has recorded since. */
  take(): void {
    for (const { signal, bytes } of this.#sink.accepted.splice(0))
      if (signal === "traces")
        for (const number of spanNumbers(bytes)) this.#seen.set(number, (this.#seen.get(number) ?? 0) + 1);
  }

  get atSink(): number {
    return this.#seen.size;
  }

  get duplicates(): number {
    let sum = 0;
    for (const count of this.#seen.values()) sum += count - 1;
    return sum;
  }

  /** Those of `wanted` that did not come. */
  missing(wanted: readonly ReadonlySet<number>[]): number[] {
    return wanted.flatMap((set) => [...set].filter((number) => !this.#seen.has(number)));
  }
}

function spanNumbers(bytes: Buffer): number[] {
  const numbers: number[] = [];
  const each = (from: number, to: number, path: readonly number[]): void => {
    const cursor = new WireCursor(bytes, from, to);
    const [field, ...rest] = path;
    while (cursor.next()) {
      if (cursor.field !== field || cursor.wire !== LEN) continue;
      if (rest.length > 0) each(cursor.valueStart, cursor.valueEnd, rest);
      else numbers.push(Number(bytes.readBigUInt64BE(cursor.valueStart)));
    }
  };
  each(0, bytes.length, [1, 2, 2, 2]);
  return numbers;
}
