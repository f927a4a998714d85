/** What came to a sink, span by span, held against what was sent and what the log said. Keeps no payloads. */
import { LEN, WireCursor } from "../../src/pdata/wire.ts";
import type { OtlpSink } from "../kit/otlp-sink.ts";
import { traceOfSender } from "./load.ts";
import type { LoggedRequest } from "./proxy-log.ts";
import { POISON, plainSpan } from "./sent-spans.ts";

/** Log-derived spans of a request of `requestLines`: where they begin and end, in seconds times its stretch. */
const STATES: Readonly<Record<string, readonly [from: number, to: number]>> = {
  "Trace for Omni Proxy": [0, 0.2],
  "Proxy received request": [0, 0.00001],
  "Process request": [0.00001, 0.00002],
  Tokenizer: [0.00002, 0.0001],
  "P waiting": [0.0001, 0.001],
  "P scheduled": [0.001, 0.002],
  "P running": [0.002, 0.05],
  "D waiting": [0.051, 0.052],
  "D scheduled": [0.052, 0.053],
  "D running": [0.053, 0.2],
  TTFT: [0, 0.1],
  TPOT1: [0.1, 0.11],
  TPOT2: [0.11, 0.12],
  "Received all tokens": [0.12, 0.2],
};
const ROOT = "Trace for Omni Proxy";
/** How many log-derived spans a request has. */
export const SPANS_A_LOGGED_REQUEST = Object.keys(STATES).length;
/** Stamps are microseconds. */
const TOLERANCE_NS = 5_000;
/** What begins at `Start to schedule` begins on another clock, which is known as well as the fastest request told of it. */
const START_TOLERANCE_NS = 250_000;
/** At most so many problems are kept in words. */
const TOLD = 20;

interface Seen {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly nanos: number;
  readonly status: number;
}

interface Derived extends Seen {
  count: number;
}

/** What became of vLLM's spans. */
interface Engine {
  readonly traceId: string;
  readonly parentSpanId: string;
}

/** Call `take` often enough that the sink does not keep much. */
export class Census {
  /** Span number -> how often it came. */
  readonly #seen = new Map<number, number>();
  /** Trace id -> name -> the span that came first. */
  readonly #derived = new Map<string, Map<string, Derived>>();
  readonly #engine = new Map<number, Engine>();
  /** Spans that came with other bytes, or a second time as another span. */
  unequal = 0;
  /** The first few in words. */
  readonly problems: string[] = [];

  /** Takes over what a sink has recorded since. */
  take(sink: OtlpSink): void {
    for (const { signal, bytes } of sink.accepted.splice(0)) if (signal === "traces") this.#takeRequest(bytes);
  }

  /** Different spans that came. */
  get atSink(): number {
    let sum = this.#seen.size;
    for (const spans of this.#derived.values()) sum += spans.size;
    return sum;
  }

  /** Spans that came again. */
  get duplicates(): number {
    let sum = 0;
    for (const count of this.#seen.values()) sum += count - 1;
    for (const spans of this.#derived.values()) for (const { count } of spans.values()) sum += count - 1;
    return sum;
  }

  /** Those of `wanted` that did not come. */
  missing(wanted: readonly ReadonlySet<number>[]): number[] {
    return wanted.flatMap((set) => [...set].filter((number) => !this.#seen.has(number)));
  }

  /** Log-derived spans of these requests that did not come, in words. */
  missingStates(requests: readonly LoggedRequest[]): string[] {
    return requests.flatMap(({ id, traceId, at, stretch }) => {
      const spans = this.#derived.get(traceId);
      return Object.keys(STATES).flatMap((name) =>
        spans?.has(name) ? [] : [`${id} (trace ${traceId}, at ${at}, ${stretch}): ${name}`],
      );
    });
  }

  /** What is wrong with the log-derived spans that came: their ids, parents and durations, in words. */
  wrongStates(requests: readonly LoggedRequest[]): string[] {
    return requests.flatMap((request) => {
      const spans = this.#derived.get(request.traceId);
      const root = spans?.get(ROOT);
      if (!spans || !root) return [];
      const wrong: string[] = [];
      const [, , caller = ""] = request.traceparent?.split("-") ?? [];
      for (const span of spans.values()) {
        const state = STATES[span.name];
        if (!state) wrong.push(`${request.id} has ${span.name}`);
        const parent = span !== root ? root.spanId : request.isInjected ? "" : caller;
        if (span.parentSpanId !== parent) wrong.push(`${request.id}: parent of ${span.name} is ${span.parentSpanId}`);
        const [from, to] = state ?? [0, 0];
        if (
          Math.abs(span.nanos - (to - from) * request.stretch * 1e9) > (from === 0 ? START_TOLERANCE_NS : TOLERANCE_NS)
        )
          wrong.push(`${request.id}: ${span.name} takes ${span.nanos} ns`);
        if (span.status !== 0) wrong.push(`${request.id}: ${span.name} has status ${span.status}`);
      }
      if (request.isInjected && caller !== "" && root.spanId !== caller)
        wrong.push(`${request.id}: root is not ${caller}`);
      return wrong;
    });
  }

  /** Of vLLM's spans that came, how many are not in their request's trace under the state in which they ran. */
  misplaced(engine: ReadonlyMap<number, { request: LoggedRequest; role: "prefill" | "decode" }>): number {
    let sum = 0;
    for (const [number, { request, role }] of engine) {
      const seen = this.#engine.get(number);
      if (!seen) continue;
      const home = this.#derived.get(request.traceId)?.get(role === "prefill" ? "P running" : "D running");
      if (seen.traceId !== request.traceId || seen.parentSpanId !== home?.spanId) sum++;
    }
    return sum;
  }

  #takeRequest(bytes: Buffer): void {
    for (const resourceSpans of parts(bytes, 1)) {
      const isDerived = parts(resourceSpans, 1).some((resource) => resource.includes("omni-proxy"));
      for (const scopeSpans of parts(resourceSpans, 2))
        for (const span of parts(scopeSpans, 2)) isDerived ? this.#takeDerived(span) : this.#takeSent(span);
    }
  }

  #takeSent(bytes: Buffer): void {
    const span = read(bytes);
    const number = Number(`0x${span.spanId}`);
    this.#seen.set(number, (this.#seen.get(number) ?? 0) + 1);
    if (span.name !== "load") {
      this.#engine.set(number, span);
      return;
    }
    const original = plainSpan(
      number,
      traceOfSender(Number(`0x${span.traceId.slice(0, 2)}`) - 1),
      bytes.includes(POISON),
    );
    if (!bytes.equals(original.bytes)) this.#say(`span ${number} came with other bytes`);
  }

  #takeDerived(bytes: Buffer): void {
    const span = read(bytes);
    let trace = this.#derived.get(span.traceId);
    if (!trace) {
      trace = new Map();
      this.#derived.set(span.traceId, trace);
    }
    const first = trace.get(span.name);
    if (!first) {
      trace.set(span.name, { ...span, count: 1 });
      return;
    }
    first.count++;
    for (const key of ["spanId", "parentSpanId", "status"] as const)
      if (first[key] !== span[key])
        this.#say(`${span.name} of trace ${span.traceId}: ${key} ${first[key]}, then ${span[key]}`);
    if (Math.abs(first.nanos - span.nanos) > (STATES[span.name]?.[0] === 0 ? START_TOLERANCE_NS : TOLERANCE_NS))
      this.#say(`${span.name} of trace ${span.traceId} takes ${first.nanos} ns, then ${span.nanos} ns`);
  }

  #say(problem: string): void {
    this.unequal++;
    if (this.problems.length < TOLD) this.problems.push(problem);
  }
}

function parts(message: Buffer, field: number): Buffer[] {
  const found: Buffer[] = [];
  const cursor = new WireCursor(message);
  while (cursor.next())
    if (cursor.field === field && cursor.wire === LEN) found.push(message.subarray(cursor.valueStart, cursor.valueEnd));
  return found;
}

/** Span.trace_id=1, span_id=2, parent_span_id=4, name=5, start=7, end=8, status=15 { code=3 }. */
function read(span: Buffer): Seen {
  const cursor = new WireCursor(span);
  const hex = (): string => span.toString("hex", cursor.valueStart, cursor.valueEnd);
  const seen = { traceId: "", spanId: "", parentSpanId: "", name: "", nanos: 0, status: 0 };
  let start = 0n;
  while (cursor.next()) {
    if (cursor.field === 1) seen.traceId = hex();
    else if (cursor.field === 2) seen.spanId = hex();
    else if (cursor.field === 4) seen.parentSpanId = hex();
    else if (cursor.field === 5) seen.name = cursor.string();
    else if (cursor.field === 7) start = span.readBigUInt64LE(cursor.valueStart);
    else if (cursor.field === 8) seen.nanos = Number(span.readBigUInt64LE(cursor.valueStart) - start);
    else if (cursor.field === 15) {
      const status = new WireCursor(span, cursor.valueStart, cursor.valueEnd);
      while (status.next()) if (status.field === 3) seen.status = status.varint();
    }
  }
  return seen;
}
