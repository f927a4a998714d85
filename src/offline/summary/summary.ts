/**
 * Average and percentile traces: every span's statistic over the requests that ended well, the first and last few left
 * out, as log_to_jaeger.py defines them. Where a span begins is the same statistic of where it begins in its request.
 */
import { createHash } from "node:crypto";
import { ROOT_SPAN } from "../../omni/actions.ts";
import { type ResourceSpans, SPAN_KIND, type SpanData, STATUS_CODE } from "../../pdata/model.ts";
import { Records } from "../numbers/records.ts";
import { Sample } from "../numbers/sample.ts";
import type { Scratch } from "../numbers/scratch.ts";
import { type RequestTree, requestTrees, SpanPath, serviceOf } from "../request-tree.ts";
import type { OfflineTrace } from "../trace.ts";
import { Middle } from "./middle.ts";

/** service.name of summary traces, so that no search and no statistic takes them for requests. */
export const SUMMARY_SERVICE = "omni-proxy-summary";

/** The summary traces in their order: log_to_jaeger.py's, and the median. Names are upstream's. */
export const STATISTICS: readonly { readonly name: string; readonly key: string; readonly q: number | undefined }[] = [
  { name: "Request TP99 Percentile Trace", key: "p99", q: 99 },
  { name: "Request TP95 Percentile Trace", key: "p95", q: 95 },
  { name: "Request TP90 Percentile Trace", key: "p90", q: 90 },
  { name: "Request TP50 Percentile Trace", key: "p50", q: 50 },
  { name: "Request Average Trace", key: "average", q: undefined },
];

interface Row {
  readonly path: SpanPath;
  readonly service: string;
  readonly kind: number;
  readonly durations: Sample;
  readonly offsets: Sample;
}

/** One request's contribution. */
interface Vector {
  readonly startUs: number;
  readonly id: string;
  readonly traceId: string;
  readonly rootSpanId: string;
  readonly endToEndUs: number;
  readonly tree: RequestTree;
}

export class Summary {
  readonly #scratch: Scratch;
  readonly #top = new SpanPath(ROOT_SPAN);
  readonly #rows = new Map<SpanPath, Row>();
  readonly #records: Records;
  readonly #middle: Middle<Vector>;
  #firstTrace = "";
  /** Requests that the statistics are over. */
  requests = 0;

  /** `skip`: how many requests are left out at either end. */
  constructor(scratch: Scratch, skip: number) {
    this.#scratch = scratch;
    this.#records = new Records(scratch);
    this.#middle = new Middle(skip, (vector) => this.#take(vector));
  }

  /** Requests left out at the ends. */
  get skipped(): number {
    return this.#middle.skipped;
  }

  /** Takes the requests of a trace that ended well. */
  add(trace: OfflineTrace): void {
    if (trace.requests.length === 0) return;
    const trees = requestTrees(trace.resourceSpans, this.#top);
    for (const request of trace.requests) {
      if (request.figures.verdict.outcome !== "ok") continue;
      const tree = trees.find(({ root }) => root.spanId === request.rootSpanId);
      if (!tree) continue;
      this.#middle.add({
        startUs: request.startUs,
        id: request.id,
        traceId: trace.traceId,
        rootSpanId: request.rootSpanId,
        endToEndUs: request.figures.endToEnd * 1e6,
        tree,
      });
    }
  }

  /** The summary traces; empty when no request is left. */
  traces(): OfflineTrace[] {
    const root = this.#rows.get(this.#top);
    if (!root) return [];
    const ends = STATISTICS.map(({ q }) => statistic(root.durations, q));
    const nearest = this.#records.nearest(ends);
    return STATISTICS.map(({ name, key, q }, index) => {
      const traceId = idOf([key, this.#firstTrace, String(this.requests), String(ends[index])], 32);
      const near = nearest[index];
      const originNs = BigInt(Math.round(near?.startUs ?? 0)) * 1000n;
      const spans = [...this.#rows.values()].map((row): SpanData => {
        const durationUs = statistic(row.durations, q);
        const startUnixNano = originNs + nanos(row === root ? 0 : statistic(row.offsets, q));
        return {
          traceId,
          spanId: idOf([traceId, String(row.path)], 16),
          parentSpanId: row === root ? "" : idOf([traceId, String(row.path.parent)], 16),
          traceState: "",
          flags: 0x100,
          name: row === root ? name : row.path.name,
          kind: row === root ? SPAN_KIND.SERVER : row.kind,
          startUnixNano,
          endUnixNano: startUnixNano + nanos(durationUs),
          attributes: [
            { key: "omni.summary.statistic", value: key },
            { key: "omni.summary.duration_us", value: durationUs },
            { key: "omni.summary.count", value: BigInt(row.durations.count) },
            { key: "omni.summary.requests", value: BigInt(this.requests) },
            { key: "omni.summary.service", value: row.service },
          ],
          droppedAttributesCount: 0,
          events: [],
          droppedEventsCount: 0,
          links:
            row === root && near
              ? [
                  {
                    traceId: near.traceId,
                    spanId: near.rootSpanId,
                    traceState: "",
                    attributes: [
                      { key: "request_id", value: near.id },
                      { key: "omni.e2e_seconds", value: near.value / 1e6 },
                    ],
                    droppedAttributesCount: 0,
                    flags: 0,
                  },
                ]
              : [],
          droppedLinksCount: 0,
          status: { code: STATUS_CODE.UNSET, message: "" },
        };
      });
      return { traceId, resourceSpans: [groupOf(spans)], requests: [] };
    });
  }

  #take({ startUs, id, traceId, rootSpanId, endToEndUs, tree }: Vector): void {
    if (this.requests === 0) this.#firstTrace = traceId;
    this.requests++;
    this.#records.add({ value: endToEndUs, startUs, traceId, rootSpanId, id });
    const rootStart = tree.root.startUnixNano;
    for (const { span, resource, path } of tree.spans) {
      let row = this.#rows.get(path);
      if (!row) {
        row = {
          path,
          service: serviceOf(resource),
          kind: span.kind,
          durations: new Sample(this.#scratch),
          offsets: new Sample(this.#scratch),
        };
        this.#rows.set(path, row);
      }
      row.durations.add(micros(span.endUnixNano - span.startUnixNano));
      row.offsets.add(micros(span.startUnixNano - rootStart));
    }
  }
}

function statistic(sample: Sample, q: number | undefined): number {
  return q === undefined ? sample.mean : (sample.percentiles([q])[0] as number);
}

function micros(ns: bigint): number {
  return Number(ns) / 1000;
}

function nanos(us: number): bigint {
  return BigInt(Math.round(us * 1000));
}

function groupOf(spans: SpanData[]): ResourceSpans {
  return {
    resource: { attributes: [{ key: "service.name", value: SUMMARY_SERVICE }], droppedAttributesCount: 0 },
    scopeSpans: [
      { scope: { name: "omnishim", version: "", attributes: [], droppedAttributesCount: 0 }, spans, schemaUrl: "" },
    ],
    schemaUrl: "",
  };
}

function idOf(fields: readonly string[], digits: number): string {
  return createHash("sha256").update(JSON.stringify(fields)).digest("hex").slice(0, digits);
}
