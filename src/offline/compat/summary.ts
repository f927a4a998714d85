/** The script's average and percentile traces (compat/layout.ts), without its faults: see docs/offline.md. */
import { createHash } from "node:crypto";
import { Sample } from "../numbers/sample.ts";
import type { Scratch } from "../numbers/scratch.ts";
import { Middle } from "../summary/middle.ts";
import { type CompatSpan, ORDER } from "./layout.ts";
import { lengthMicros, summaryText } from "./text.ts";

const STATISTICS: readonly { readonly service: string; readonly title: string; readonly q: number | undefined }[] = [
  { service: "Request TP99 Percentile Trace", title: "TP99 percentile time duration", q: 99 },
  { service: "Request TP95 Percentile Trace", title: "TP95 percentile time duration", q: 95 },
  { service: "Request TP90 Percentile Trace", title: "TP90 percentile time duration", q: 90 },
  { service: "Request Average Trace", title: "Average time duration", q: undefined },
];

interface Row {
  readonly durations: Sample;
  /** As the newest request has it: where the span begins. */
  newest: CompatSpan;
  /** The parent's name; "" for the root. */
  parent: string;
}

interface Vector {
  readonly startUs: number;
  readonly traceId: string;
  readonly spans: readonly CompatSpan[];
}

export class CompatSummary {
  readonly #scratch: Scratch;
  readonly #rows = new Map<string, Row>();
  readonly #middle: Middle<Vector>;
  #newestUs = Number.NEGATIVE_INFINITY;
  #hash = createHash("sha256");
  requests = 0;

  constructor(scratch: Scratch, skip: number) {
    this.#scratch = scratch;
    this.#middle = new Middle(skip, (vector) => this.#take(vector));
  }

  get skipped(): number {
    return this.#middle.skipped;
  }

  add(traceId: string, startUs: number, spans: readonly CompatSpan[]): void {
    this.#middle.add({ startUs, traceId, spans });
  }

  /** The traces in the script's order; empty when no request is left. Spans that only some requests have are among them. */
  texts(): string[] {
    const rows = ORDER.flatMap((name) => this.#rows.get(name) ?? []);
    if (rows.length === 0) return [];
    const names = rows.map(({ newest }) => newest.name);
    const seed = this.#hash.copy().digest("hex");
    return STATISTICS.map(({ service, title, q }) => {
      const traceId = createHash("sha256").update(`${seed} ${service}`).digest("hex").slice(0, 32);
      const spans = rows.map(({ durations, newest, parent }, index) => ({
        span: { ...newest, parent: names.indexOf(parent) },
        service: index === 0 ? service : newest.name,
        value: q === undefined ? durations.mean : (durations.percentiles([q])[0] as number),
      }));
      return summaryText(traceId, title, spans);
    });
  }

  #take({ startUs, traceId, spans }: Vector): void {
    this.requests++;
    this.#hash.update(traceId);
    const newer = startUs >= this.#newestUs;
    this.#newestUs = Math.max(startUs, this.#newestUs);
    for (const span of spans) {
      const parent = span.parent < 0 ? "" : (spans[span.parent] as CompatSpan).name;
      let row = this.#rows.get(span.name);
      if (!row) {
        row = { durations: new Sample(this.#scratch), newest: span, parent };
        this.#rows.set(span.name, row);
      } else if (newer) {
        row.newest = span;
        row.parent = parent;
      }
      row.durations.add(lengthMicros(span));
    }
  }
}
