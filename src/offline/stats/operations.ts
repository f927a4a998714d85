/** Spans by operation name, as analyze_jaeger_all_spans_to_csv.py has them; and the shortest and longest of one operation. */
import { ROOT_SPAN } from "../../omni/actions.ts";
import { attribute, type KeyValue, type SpanData } from "../../pdata/model.ts";
import { Sample } from "../numbers/sample.ts";
import type { Scratch } from "../numbers/scratch.ts";
import { serviceOf } from "../request-tree.ts";
import { Top } from "../select.ts";
import { SUMMARY_SERVICE } from "../summary/summary.ts";
import type { OfflineTrace } from "../trace.ts";

/** The script's columns. */
export const CSV_COLUMNS = [
  "operation",
  "count",
  "avg_ms",
  "min_ms",
  "max_ms",
  "p50_ms",
  "p90_ms",
  "p95_ms",
  "p99_ms",
] as const;
const PERCENTILES = [50, 90, 95, 99];
/** How many of the shortest and of the longest are listed. */
const MOST_LISTED = 10;
/** Keys under which programs name a request; the script knows neither RequestID nor gen_ai.request.id. */
const ID_KEYS: ReadonlySet<string> = new Set([
  "request_id",
  "request id",
  "requestid",
  "request-id",
  "gen_ai.request.id",
]);

/** A span of the operation that was asked for. */
export interface ListedSpan {
  readonly durationMs: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly service: string;
  /** Unix microseconds. */
  readonly startUs: number;
  /** Of the span, else of the request that it belongs to, else of any span of its trace; "" where nothing tells. */
  readonly requestId: string;
}

interface Operation {
  readonly sample: Sample;
  earliest: bigint;
}

export class Operations {
  readonly #scratch: Scratch;
  readonly #service: string | undefined;
  readonly #listed: string | undefined;
  readonly #operations = new Map<string, Operation>();
  readonly #longest = new Top<ListedSpan>(MOST_LISTED);
  readonly #shortest = new Top<ListedSpan>(MOST_LISTED);
  traces = 0;

  /** `service`: only its spans. `listed`: the operation whose extremes are wanted. */
  constructor(scratch: Scratch, service: string | undefined, listed: string | undefined) {
    this.#scratch = scratch;
    this.#service = service;
    this.#listed = listed;
  }

  add(trace: OfflineTrace): void {
    this.traces++;
    let lookUp: ((span: SpanData) => string) | undefined;
    for (const { resource, scopeSpans } of trace.resourceSpans) {
      const service = serviceOf(resource.attributes);
      if (service === SUMMARY_SERVICE || (this.#service !== undefined && service !== this.#service)) continue;
      for (const { spans } of scopeSpans) {
        for (const span of spans) {
          this.#count(span);
          if (span.name !== this.#listed) continue;
          lookUp ??= requestIds(trace);
          const entry = listedOf(span, service, lookUp(span));
          this.#longest.add(entry, entry.durationMs);
          this.#shortest.add(entry, -entry.durationMs);
        }
      }
    }
  }

  /** Shortest first, and longest first. */
  extremes(): { readonly shortest: readonly ListedSpan[]; readonly longest: readonly ListedSpan[] } {
    return { shortest: this.#shortest.items(), longest: this.#longest.items() };
  }

  /** The script's table: a row an operation, in order of its earliest span; six decimals. Lines end as everywhere else on this system. */
  csv(): string {
    const lines = [...this.#operations]
      .sort(([, a], [, b]) => (a.earliest < b.earliest ? -1 : a.earliest > b.earliest ? 1 : 0))
      .map(([name, { sample }]) => {
        const numbers = [sample.mean, sample.min, sample.max, ...sample.percentiles(PERCENTILES)];
        return [field(name), sample.count, ...numbers.map((value) => value.toFixed(6))].join(",");
      });
    return `${[CSV_COLUMNS.join(","), ...lines].join("\n")}\n`;
  }

  #count(span: SpanData): void {
    let operation = this.#operations.get(span.name);
    if (!operation) {
      operation = { sample: new Sample(this.#scratch), earliest: span.startUnixNano };
      this.#operations.set(span.name, operation);
    }
    if (span.startUnixNano < operation.earliest) operation.earliest = span.startUnixNano;
    operation.sample.add(durationMs(span));
  }
}

/** As Python's csv writes it: quoted where it holds a comma, a quote or a line end. */
function field(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function durationMs(span: SpanData): number {
  return Number(span.endUnixNano - span.startUnixNano) / 1e6;
}

function listedOf(span: SpanData, service: string, requestId: string): ListedSpan {
  return {
    durationMs: durationMs(span),
    traceId: span.traceId,
    spanId: span.spanId,
    service,
    startUs: Number(span.startUnixNano / 1000n),
    requestId,
  };
}

/** Finds the request that a span of this trace belongs to. */
function requestIds(trace: OfflineTrace): (span: SpanData) => string {
  const spans = new Map<string, SpanData>();
  let any = "";
  for (const { scopeSpans } of trace.resourceSpans)
    for (const scope of scopeSpans)
      for (const span of scope.spans) {
        spans.set(span.spanId, span);
        any ||= ownId(span.attributes);
      }
  return (span) => {
    const seen = new Set<SpanData>();
    for (let at: SpanData | undefined = span; at && !seen.has(at); at = spans.get(at.parentSpanId)) {
      seen.add(at);
      const id = ownId(at.attributes);
      if (id !== "") return id;
      if (at.name === ROOT_SPAN) return "";
    }
    return any;
  };
}

function ownId(attributes: readonly KeyValue[]): string {
  for (const { key, value } of attributes)
    if (ID_KEYS.has(key.toLowerCase()) && typeof value === "string") return value;
  const kept = attribute(attributes, "RequestID");
  return typeof kept === "string" ? kept : "";
}
