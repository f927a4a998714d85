/** Senders that go on through refusals and broken connections until they are stopped. */
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { exportRequest, plainSpan, type SentSpan } from "./sent-spans.ts";

const SPANS_A_REQUEST = 20;
const PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/** What the SDKs give an export. */
const TIMEOUT_MS = 10_000;
/** Pause of a worker after a refusal. */
const REST_MS = 100;

/** What became of the spans of a load, seen by the senders. */
export interface SentFigures {
  readonly sent: number;
  readonly acknowledged: number;
  readonly refused: number;
}

/** How hard the load is. */
export interface LoadOptions {
  /** Requests at once, a sender. Default 4. */
  readonly workers?: number;
  /** Pause behind each answer. Default 4. */
  readonly pauseMs?: number;
  /** One span in so many is of the kind that some backends refuse for good (`POISON`); 0, the default: none. */
  readonly poisonEvery?: number;
}

/** Sends one request; rejects unless it was acknowledged. */
type Send = (body: Buffer) => Promise<void>;

/** A sender over one protocol. */
class Sender {
  readonly acknowledged = new Set<number>();
  sent = 0;
  refused = 0;
  /** What refusals said, and how often. */
  readonly reasons = new Map<string, number>();
  /** Spans to send besides those that it makes up. */
  readonly waiting: SentSpan[] = [];
  readonly #workers: Promise<void>[];
  #isStopped = false;

  constructor(send: Send, nextPlain: () => SentSpan, { workers = 4, pauseMs = 4 }: LoadOptions) {
    this.#workers = Array.from({ length: workers }, async () => {
      while (!this.#isStopped || this.waiting.length > 0) {
        const spans = this.waiting.splice(0, SPANS_A_REQUEST);
        while (spans.length < SPANS_A_REQUEST && !this.#isStopped) spans.push(nextPlain());
        this.sent += spans.length;
        try {
          await send(exportRequest(spans));
          for (const { number } of spans) this.acknowledged.add(number);
          await pause(pauseMs);
        } catch (error) {
          this.refused += spans.length;
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

/** Two senders, one a protocol, against one program that may come and go. A request that is refused is not sent again. */
export class Load {
  readonly #senders: readonly [grpc: Sender, http: Sender];
  readonly #close: () => void;
  #number = 0;

  constructor(ports: { readonly grpc: number; readonly http: number }, options: LoadOptions = {}) {
    const client = new Client(`127.0.0.1:${ports.grpc}`, credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": 200,
    });
    const { poisonEvery = 0 } = options;
    const make = (send: Send, index: number): Sender => {
      const traceId = traceOfSender(index);
      return new Sender(
        send,
        () => {
          const number = this.nextNumber();
          return plainSpan(number, traceId, poisonEvery > 0 && number % poisonEvery === 0);
        },
        options,
      );
    };
    this.#senders = [make(overGrpc(client), 0), make(overHttp(ports.http), 1)];
    this.#close = () => client.close();
  }

  /** For a span that is sent by `sendSoon`. */
  nextNumber(): number {
    return ++this.#number;
  }

  /** Gives a span to a sender's next request. */
  sendSoon(protocol: "grpc" | "http", span: SentSpan): void {
    this.#senders[protocol === "grpc" ? 0 : 1].waiting.push(span);
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

  /** Numbers of the acknowledged spans, a sender. */
  get acknowledged(): ReadonlySet<number>[] {
    return this.#senders.map((sender) => sender.acknowledged);
  }

  /** What refusals said, and how often, a sender. */
  get reasons(): ReadonlyMap<string, number>[] {
    return this.#senders.map((sender) => sender.reasons);
  }

  /** Resolves when every request was answered or given up. */
  async stop(): Promise<void> {
    await Promise.all(this.#senders.map((sender) => sender.stop()));
    this.#close();
  }
}

/** The trace that a sender's own spans are in. */
export function traceOfSender(index: number): Buffer {
  return Buffer.alloc(16, index + 1);
}

function overGrpc(client: Client): Send {
  const asIs = (bytes: Buffer): Buffer => bytes;
  return (body) =>
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
}

function overHttp(port: number): Send {
  return async (body) => {
    const response = await fetch(`http://127.0.0.1:${port}/v1/traces`, {
      method: "POST",
      headers: { "content-type": "application/x-protobuf" },
      body: Uint8Array.from(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    await response.arrayBuffer();
    if (response.status !== 200) throw new Error(`HTTP ${response.status}`);
  };
}
