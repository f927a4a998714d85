/** The instances of one kind beside each other: who is slower than the rest. */
import { D_RUNNING_SPAN, P_RUNNING_SPAN } from "../../omni/actions.ts";
import type { RequestTree } from "../request-tree.ts";
import type { RequestFacts } from "../stats/request-facts.ts";
import { textAttribute } from "../stats/request-facts.ts";
import { LogHistogram } from "./log-histogram.ts";

/** What instances are compared by, and whose instances they are. */
export const COMPARISONS = [
  { key: "prefill", title: "Prefill instances: P running" },
  { key: "first token", title: "Decode instances: D running to first token" },
  { key: "TPOT", title: "Decode instances: time per output token" },
  { key: "decode", title: "Decode instances: D running" },
  { key: "queue", title: "Proxies: waiting and scheduled" },
] as const;
type ComparisonKey = (typeof COMPARISONS)[number]["key"];

/** One instance; times in milliseconds, right to half a percent. */
export interface InstanceRow {
  readonly name: string;
  readonly requests: number;
  /** Requests that failed at this instance. */
  readonly failed: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  /** How many times the median of all instances' medians its own median is; given when that is far enough off to be looked at. */
  readonly outlier: number | undefined;
}

export interface Comparison {
  readonly title: string;
  /** Median of the instances' medians, milliseconds. */
  readonly typical: number;
  /** The slowest first. */
  readonly rows: readonly InstanceRow[];
  /** Instances that are not listed. */
  readonly more: number;
}

/** Instances that are told apart; the rest is put together. */
const MOST_INSTANCES = 1000;
const REST = "(others)";
/** Instances that are listed, the slowest. */
const MOST_LISTED = 50;
/** Fewer requests tell nothing. */
const LEAST_REQUESTS = 5;
/** Medians nearer than this to the typical one are no outliers, however close together the others are. */
const LEAST_FACTOR = 1.25;
/** Standard deviations, taken from the median absolute deviation. */
const LEAST_SIGMAS = 3.5;
const MAD_TO_SIGMA = 1.4826;

interface Instance {
  readonly histogram: LogHistogram;
  failed: number;
}

export class Instances {
  readonly #kinds = new Map<ComparisonKey, Map<string, Instance>>();

  /** Takes a request. */
  add(tree: RequestTree, facts: RequestFacts): void {
    const { prefillAddress, decodeAddress, figures, outcome } = facts;
    const proxy = tree.spans[0]?.resource ?? [];
    const below = (name: string) => tree.spans.find(({ span }) => span.name === name)?.span;
    const ms = (seconds: number | undefined) => (seconds === undefined ? undefined : seconds * 1000);
    const decode = below(D_RUNNING_SPAN);
    const ttft = figures.get("TTFT");
    const beforeDecode = decode && Number(decode.startUnixNano - tree.root.startUnixNano) / 1e9;
    const first = ttft !== undefined && beforeDecode !== undefined ? ttft - beforeDecode : undefined;
    this.#take("prefill", prefillAddress || addressOf(below(P_RUNNING_SPAN)), ms(figures.get("prefill")), outcome);
    this.#take("first token", decodeAddress, first !== undefined && first >= 0 ? first * 1000 : undefined, outcome);
    this.#take("TPOT", decodeAddress, ms(figures.get("TPOT")), outcome);
    this.#take("decode", decodeAddress, ms(figures.get("decode")), outcome);
    this.#take("queue", textAttribute(proxy, "host.name"), ms(figures.get("queue")), outcome);
  }

  /** Comparisons that have an instance. */
  data(): Comparison[] {
    return COMPARISONS.flatMap(({ key, title }) => {
      const instances = this.#kinds.get(key);
      return instances ? [compare(title, instances)] : [];
    });
  }

  #take(key: ComparisonKey, name: string, ms: number | undefined, outcome: string): void {
    if (name === "" || ms === undefined) return;
    let kind = this.#kinds.get(key);
    if (!kind) {
      kind = new Map();
      this.#kinds.set(key, kind);
    }
    const known = kind.has(name) || kind.size < MOST_INSTANCES ? name : REST;
    let instance = kind.get(known);
    if (!instance) {
      instance = { histogram: new LogHistogram(), failed: 0 };
      kind.set(known, instance);
    }
    instance.histogram.add(ms);
    const isOwn = key === "prefill" ? outcome === "prefill_failed" : outcome === "decode_failed";
    if (isOwn && key !== "queue") instance.failed++;
  }
}

function addressOf(span: RequestTree["root"] | undefined): string {
  return span ? textAttribute(span.attributes, "server.address") : "";
}

function compare(title: string, instances: ReadonlyMap<string, Instance>): Comparison {
  const rows = [...instances].map(([name, { histogram, failed }]) => ({
    name,
    requests: histogram.count,
    failed,
    p50: histogram.percentile(50),
    p90: histogram.percentile(90),
    p99: histogram.percentile(99),
  }));
  const judged = rows.filter(({ requests }) => requests >= LEAST_REQUESTS).map(({ p50 }) => p50);
  const factors = outliers(judged);
  const marked = rows
    .map((row): InstanceRow => ({ ...row, outlier: row.requests >= LEAST_REQUESTS ? factors(row.p50) : undefined }))
    .sort((a, b) => b.p50 - a.p50 || (a.name < b.name ? -1 : 1));
  const typical = median(judged.length > 0 ? judged : rows.map(({ p50 }) => p50));
  return { title, typical, rows: marked.slice(0, MOST_LISTED), more: Math.max(0, marked.length - MOST_LISTED) };
}

/**
 * Judges medians against each other: far from the typical one, in either direction, both as a factor and in robust
 * standard deviations. Fewer than three cannot tell which of them is the odd one.
 * @returns the factor to the typical median for an outlier, undefined for the others
 */
export function outliers(medians: readonly number[]): (value: number) => number | undefined {
  const typical = median(medians);
  const sigma = MAD_TO_SIGMA * median(medians.map((value) => Math.abs(value - typical)));
  return (value) => {
    if (medians.length < 3 || typical <= 0) return undefined;
    const factor = value / typical;
    const isFar = factor >= LEAST_FACTOR || factor <= 1 / LEAST_FACTOR;
    return isFar && Math.abs(value - typical) > LEAST_SIGMAS * sigma ? factor : undefined;
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2;
}
