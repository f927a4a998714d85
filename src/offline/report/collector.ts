/** What the page shows, gathered trace by trace; its size is bounded whatever the number of requests. */
import { ROOT_SPAN } from "../../omni/actions.ts";
import { Sample } from "../numbers/sample.ts";
import type { Scratch } from "../numbers/scratch.ts";
import { requestTrees, SpanPath, serviceOf } from "../request-tree.ts";
import type { SourceReport } from "../source.ts";
import { type Statistics, StatsCollector } from "../stats/collector.ts";
import { type FigureName, factsOf } from "../stats/request-facts.ts";
import { SUMMARY_SERVICE } from "../summary/summary.ts";
import type { OfflineTrace } from "../trace.ts";
import { type ClockData, Clocks } from "./clocks.ts";
import { type FailureGroup, Failures } from "./failures.ts";
import { type Comparison, Instances } from "./instances.ts";
import { type Bar, LogHistogram } from "./log-histogram.ts";
import { Slowest, type SlowRequest } from "./slowest.ts";
import { phasesOf, Timeline, type TimelineData } from "./timeline.ts";

export interface CollectOptions {
  /** Unix milliseconds; requests that start outside are left out. */
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
  /** How many of the slowest requests are shown, and by which figure they are the slowest. */
  readonly top: number;
  readonly by: FigureName;
}

/** One figure over all requests, milliseconds. */
export interface Distribution {
  readonly figure: FigureName;
  readonly count: number;
  readonly mean: number;
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
  /** Of equal width on a logarithmic axis, without gaps. */
  readonly bars: readonly Bar[];
}

/** Everything that the page shows, and what `--json` prints. Times in milliseconds, points in time in unix milliseconds. */
export interface ReportData {
  readonly title: string;
  readonly source: SourceReport;
  /** From the first request's start to the last one's; undefined without requests. */
  readonly period: { readonly fromMs: number; readonly toMs: number } | undefined;
  readonly statistics: Statistics;
  readonly distributions: readonly Distribution[];
  readonly timeline: TimelineData;
  readonly slowest: { readonly by: FigureName; readonly requests: readonly SlowRequest[] };
  readonly instances: readonly Comparison[];
  readonly clocks: ClockData;
  readonly failures: readonly FailureGroup[];
}

/** Figures that have a distribution. */
const FIGURES: readonly FigureName[] = ["TTFT", "TPOT", "end-to-end"];
const MOST_BARS = 40;

export class ReportCollector {
  readonly #options: CollectOptions;
  readonly #top = new SpanPath(ROOT_SPAN);
  readonly #stats: StatsCollector;
  readonly #figures: ReadonlyMap<FigureName, { readonly sample: Sample; readonly histogram: LogHistogram }>;
  readonly #timeline = new Timeline();
  readonly #slowest: Slowest;
  readonly #instances = new Instances();
  readonly #clocks = new Clocks();
  readonly #failures = new Failures();
  #fromMs = Number.POSITIVE_INFINITY;
  #toMs = Number.NEGATIVE_INFINITY;

  constructor(scratch: Scratch, options: CollectOptions) {
    const { sinceMs, untilMs, top, by } = options;
    this.#options = options;
    this.#stats = new StatsCollector(scratch, { by: undefined, service: undefined, sinceMs, untilMs });
    this.#figures = new Map(
      FIGURES.map((figure) => [figure, { sample: new Sample(scratch), histogram: new LogHistogram() }]),
    );
    this.#slowest = new Slowest(top, by);
  }

  /** Takes a whole trace. Summary traces of `convert` are left out. */
  add(trace: OfflineTrace): void {
    this.#stats.add(trace);
    const resourceSpans = trace.resourceSpans.filter(
      ({ resource }) => serviceOf(resource.attributes) !== SUMMARY_SERVICE,
    );
    const { sinceMs = Number.NEGATIVE_INFINITY, untilMs = Number.POSITIVE_INFINITY } = this.#options;
    for (const tree of requestTrees(resourceSpans, this.#top)) {
      const startMs = Number(tree.root.startUnixNano) / 1e6;
      if (startMs < sinceMs || startMs >= untilMs) continue;
      this.#fromMs = Math.min(this.#fromMs, startMs);
      this.#toMs = Math.max(this.#toMs, startMs);
      const facts = factsOf(tree);
      for (const [figure, { sample, histogram }] of this.#figures) {
        const seconds = facts.figures.get(figure);
        if (seconds === undefined || !Number.isFinite(seconds)) continue;
        sample.add(seconds * 1000);
        histogram.add(seconds * 1000);
      }
      this.#timeline.add(startMs, phasesOf(tree), facts.outcome !== "ok" && facts.outcome !== "");
      this.#slowest.add(tree, facts, trace);
      this.#instances.add(tree, facts);
      this.#clocks.add(tree);
      this.#failures.add(tree, facts, trace.traceId);
    }
  }

  finish(title: string, source: SourceReport): ReportData {
    return {
      title,
      source,
      period: this.#fromMs <= this.#toMs ? { fromMs: this.#fromMs, toMs: this.#toMs } : undefined,
      statistics: this.#stats.finish(),
      distributions: [...this.#figures].flatMap(([figure, { sample, histogram }]) => {
        if (sample.count === 0) return [];
        const [p50, p90, p99] = sample.percentiles([50, 90, 99]) as [number, number, number];
        const { count, mean, min, max } = sample;
        return [{ figure, count, mean, min, p50, p90, p99, max, bars: histogram.bars(MOST_BARS) }];
      }),
      timeline: this.#timeline.data(),
      slowest: { by: this.#options.by, requests: this.#slowest.data() },
      instances: this.#instances.data(),
      clocks: this.#clocks.data(),
      failures: this.#failures.data(),
    };
  }
}
