/** Statistics of spans and requests, of any number of them (numbers/sample.ts). */
import { D_RUNNING_SPAN, P_RUNNING_SPAN, ROOT_SPAN, STATES } from "../../omni/actions.ts";
import type { KeyValue, SpanData } from "../../pdata/model.ts";
import { Sample } from "../numbers/sample.ts";
import type { Scratch } from "../numbers/scratch.ts";
import { type PlacedSpan, type RequestTree, requestTrees, SpanPath, serviceOf } from "../request-tree.ts";
import { SUMMARY_SERVICE } from "../summary/summary.ts";
import type { OfflineTrace } from "../trace.ts";
import {
  FIGURE_NAMES,
  type FigureName,
  factsOf,
  isVllmSpan,
  type RequestFacts,
  roleOf,
  textAttribute,
} from "./request-facts.ts";

/** What tables can be made by. */
export const GROUPINGS = ["role", "host", "upstream", "policy", "outcome"] as const;
export type Grouping = (typeof GROUPINGS)[number];

export interface CollectorOptions {
  readonly by: Grouping | undefined;
  /** Only spans of this service; all when undefined. */
  readonly service: string | undefined;
  /** Only requests that start in this time (unix milliseconds), and spans of no request likewise. */
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
}

/** The numbers of a stage or figure; durations in milliseconds. */
export interface Row {
  readonly name: string;
  readonly count: number;
  readonly mean: number;
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
  /** Part of the end-to-end time of the requests that this stage took, 0..1; undefined outside requests and for figures that are no part of it. */
  readonly share: number | undefined;
}

/** One table. */
export interface Table {
  /** The value of what is grouped by; "" without grouping. */
  readonly key: string;
  readonly stages: readonly Row[];
  readonly figures: readonly Row[];
}

/** How many requests were seen, and what is missing of them. */
export interface RequestCensus {
  seen: number;
  /** Ended, with a vLLM span for each running state. */
  complete: number;
  withoutPrefillSpan: number;
  withoutDecodeSpan: number;
  outcomes: Record<string, number>;
  /** Requests without a span by why, as far as the log tells: their outcome, "unsampled", or "not told". */
  withoutPrefillSpanBy: Record<string, number>;
  withoutDecodeSpanBy: Record<string, number>;
  /** Ids of requests that ended well and lack a span that vLLM should have sent, a few of them. */
  examples: string[];
}

export interface Statistics {
  readonly traces: number;
  readonly spans: number;
  /** Spans in no request: of other programs, or not merged. */
  readonly strays: number;
  readonly requests: RequestCensus;
  readonly tables: readonly Table[];
}

const PERCENTILES = [50, 90, 95, 99] as const;
const MOST_EXAMPLES = 5;
/** Groups beyond this are put together: a wrong grouping must not eat the memory. */
const MOST_GROUPS = 1000;
const REST = "(others)";
const UNKNOWN = "(unknown)";
/** Stages in the order in which a request goes through them; others follow in order of appearance. */
const ORDER: readonly string[] = [
  ROOT_SPAN,
  ...STATES.map(({ name }) => name),
  "TTFT",
  "TPOT1",
  "TPOT2",
  "Received all tokens",
];
const PREFILL_STAGES: ReadonlySet<string> = new Set(["P waiting", "P scheduled", P_RUNNING_SPAN]);
/** Figures that belong to one side. */
const FIGURE_ROLES: Partial<Record<FigureName, string>> = {
  prefill: "prefill",
  decode: "decode",
  TPOT: "decode",
  "KV wait": "decode",
};

interface Group {
  readonly stages: Map<string, Sample>;
  /** Milliseconds that each stage took inside requests. */
  readonly inRequests: Map<string, number>;
  readonly figures: Map<FigureName, Sample>;
  /** End-to-end seconds of the requests that are in this group. */
  endToEnd: number;
}

export class StatsCollector {
  readonly #options: CollectorOptions;
  readonly #scratch: Scratch;
  readonly #groups = new Map<string, Group>();
  readonly #top = new SpanPath(ROOT_SPAN);
  #traces = 0;
  #spans = 0;
  #strays = 0;
  readonly #census: RequestCensus = {
    seen: 0,
    complete: 0,
    withoutPrefillSpan: 0,
    withoutDecodeSpan: 0,
    outcomes: {},
    withoutPrefillSpanBy: {},
    withoutDecodeSpanBy: {},
    examples: [],
  };

  constructor(scratch: Scratch, options: CollectorOptions) {
    this.#scratch = scratch;
    this.#options = options;
  }

  /** Takes a whole trace. Summary traces of `convert` are left out. */
  add(trace: OfflineTrace): void {
    const resourceSpans = trace.resourceSpans.filter(
      ({ resource }) => serviceOf(resource.attributes) !== SUMMARY_SERVICE,
    );
    if (resourceSpans.length === 0) return;
    this.#traces++;
    const trees = requestTrees(resourceSpans, this.#top).filter(({ root }) => this.#inTime(root));
    const placed = new Set<SpanData>();
    for (const tree of trees) {
      for (const { span } of tree.spans) placed.add(span);
      const sampled = trace.requests.find(({ rootSpanId }) => rootSpanId === tree.root.spanId)?.sampled ?? true;
      this.#request(tree, sampled);
    }
    for (const { resource, scopeSpans } of resourceSpans) {
      for (const { spans } of scopeSpans) {
        for (const span of spans) {
          if (placed.has(span) || span.name === ROOT_SPAN || !this.#inTime(span)) continue;
          if (!this.#wanted(resource.attributes)) continue;
          this.#spans++;
          this.#strays++;
          this.#stage(this.#group(this.#strayKey(span, resource.attributes)), stageOf(span), span);
        }
      }
    }
  }

  finish(): Statistics {
    const tables = [...this.#groups]
      .map(
        ([key, group]): Table => ({
          key,
          stages: [...group.stages]
            .sort(([a], [b]) => place(a) - place(b))
            .map(([name, sample]) => rowOf(name, sample, isPart(name) ? shareOf(group, name) : undefined)),
          figures: FIGURE_NAMES.flatMap((name) => {
            const sample = group.figures.get(name);
            return sample ? [rowOf(name, sample, undefined)] : [];
          }),
        }),
      )
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    return { traces: this.#traces, spans: this.#spans, strays: this.#strays, requests: this.#census, tables };
  }

  #inTime(span: SpanData): boolean {
    const { sinceMs, untilMs } = this.#options;
    const ms = Number(span.startUnixNano) / 1e6;
    return (sinceMs === undefined || ms >= sinceMs) && (untilMs === undefined || ms < untilMs);
  }

  #wanted(resource: readonly KeyValue[]): boolean {
    return this.#options.service === undefined || serviceOf(resource) === this.#options.service;
  }

  #request(tree: RequestTree, sampled: boolean): void {
    const facts = factsOf(tree);
    this.#count(facts, sampled);
    const homes = new Map<string, PlacedSpan>();
    const keys = new Set<string>();
    for (const placed of tree.spans) {
      homes.set(placed.span.spanId, placed);
      if (!this.#wanted(placed.resource)) continue;
      this.#spans++;
      const key = this.#key(placed, facts, homes);
      keys.add(key);
      const group = this.#group(key);
      const name = stageOf(placed.span);
      const ms = this.#stage(group, name, placed.span);
      group.inRequests.set(name, (group.inRequests.get(name) ?? 0) + ms);
    }
    if (!this.#wanted(tree.spans[0]?.resource ?? [])) return;
    for (const [name, seconds] of facts.figures) {
      const key = this.#figureKey(name, tree, facts);
      keys.add(key);
      const { figures } = this.#group(key);
      let sample = figures.get(name);
      if (!sample) {
        sample = new Sample(this.#scratch);
        figures.set(name, sample);
      }
      sample.add(seconds * 1000);
    }
    const endToEnd = facts.figures.get("end-to-end") ?? 0;
    for (const key of keys) this.#group(key).endToEnd += endToEnd;
  }

  #count(facts: RequestFacts, sampled: boolean): void {
    const census = this.#census;
    census.seen++;
    add(census.outcomes, facts.outcome || UNKNOWN);
    const lacksPrefill = facts.wantsPrefill && !facts.hasPrefillSpan;
    const lacksDecode = facts.wantsDecode && !facts.hasDecodeSpan;
    if (facts.ended && !lacksPrefill && !lacksDecode) census.complete++;
    const cause = facts.outcome !== "ok" && facts.outcome !== "" ? facts.outcome : sampled ? "not told" : "unsampled";
    if (lacksPrefill) {
      census.withoutPrefillSpan++;
      add(census.withoutPrefillSpanBy, cause);
    }
    if (lacksDecode) {
      census.withoutDecodeSpan++;
      add(census.withoutDecodeSpanBy, cause);
    }
    if ((lacksPrefill || lacksDecode) && cause === "not told" && census.examples.length < MOST_EXAMPLES)
      census.examples.push(facts.id);
  }

  /** @returns what the span took, milliseconds */
  #stage(group: Group, name: string, span: SpanData): number {
    let sample = group.stages.get(name);
    if (!sample) {
      sample = new Sample(this.#scratch);
      group.stages.set(name, sample);
    }
    const ms = Math.max(0, Number(span.endUnixNano - span.startUnixNano)) / 1e6;
    sample.add(ms);
    return ms;
  }

  #group(key: string): Group {
    let group = this.#groups.get(key);
    if (group) return group;
    if (this.#groups.size >= MOST_GROUPS && key !== REST) return this.#group(REST);
    group = { stages: new Map(), inRequests: new Map(), figures: new Map(), endToEnd: 0 };
    this.#groups.set(key, group);
    return group;
  }

  #key(placed: PlacedSpan, facts: RequestFacts, homes: ReadonlyMap<string, PlacedSpan>): string {
    switch (this.#options.by) {
      case undefined:
        return "";
      case "role":
        return roleOf(placed);
      case "policy":
        return facts.policy || UNKNOWN;
      case "outcome":
        return facts.outcome || UNKNOWN;
      case "host":
        return hostOf(placed.resource) || upstreamHost(placed, homes) || UNKNOWN;
      case "upstream": {
        const isPrefill = roleOf(placed) === "prefill" || PREFILL_STAGES.has(placed.span.name);
        return (isPrefill ? facts.prefillAddress : facts.decodeAddress) || UNKNOWN;
      }
    }
  }

  #figureKey(name: FigureName, { spans }: RequestTree, facts: RequestFacts): string {
    const role = FIGURE_ROLES[name] ?? "proxy";
    switch (this.#options.by) {
      case undefined:
        return "";
      case "role":
        return role;
      case "policy":
        return facts.policy || UNKNOWN;
      case "outcome":
        return facts.outcome || UNKNOWN;
      case "host":
        return hostOf(spans[0]?.resource ?? []) || UNKNOWN;
      case "upstream":
        return (role === "prefill" ? facts.prefillAddress : facts.decodeAddress) || UNKNOWN;
    }
  }

  #strayKey(span: SpanData, resource: readonly KeyValue[]): string {
    if (this.#options.by === undefined) return "";
    if (this.#options.by === "role") return textAttribute(span.attributes, "omni.role") || UNKNOWN;
    return (this.#options.by === "host" && hostOf(resource)) || UNKNOWN;
  }
}

/** A span's row: vLLM's spans of both roles have one name. */
function stageOf(span: SpanData): string {
  const role = isVllmSpan(span) ? textAttribute(span.attributes, "omni.role") : "";
  return role === "" ? span.name : `${span.name} (${role})`;
}

/** False for what overlaps the stages rather than being one. */
function isPart(name: string): boolean {
  return !["TTFT", "TPOT1", "TPOT2", "Received all tokens"].includes(name);
}

function hostOf(resource: readonly KeyValue[]): string {
  return textAttribute(resource, "host.name") || textAttribute(resource, "host.ip");
}

/** Where the state ran that a vLLM span lies under. */
function upstreamHost({ span }: PlacedSpan, homes: ReadonlyMap<string, PlacedSpan>): string {
  const home = homes.get(span.parentSpanId)?.span;
  return home && (home.name === P_RUNNING_SPAN || home.name === D_RUNNING_SPAN)
    ? textAttribute(home.attributes, "server.address").replace(/:\d+$/, "")
    : "";
}

function rowOf(name: string, sample: Sample, share: number | undefined): Row {
  const [p50, p90, p95, p99] = sample.percentiles(PERCENTILES) as [number, number, number, number];
  return { name, count: sample.count, mean: sample.mean, min: sample.min, p50, p90, p95, p99, max: sample.max, share };
}

/** undefined for a stage that is in no request. */
function shareOf({ inRequests, endToEnd }: Group, name: string): number | undefined {
  const ms = inRequests.get(name);
  return ms === undefined || endToEnd === 0 ? undefined : ms / 1000 / endToEnd;
}

function place(name: string): number {
  const at = ORDER.indexOf(name);
  return at < 0 ? ORDER.length : at;
}

function add(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}
