/** The connector's metrics, and the census that it says once a minute. */
import { D_RUNNING, P_RUNNING, type Role } from "../../omni/actions.ts";
import type { ClockEstimate } from "../../omni/clock.ts";
import type { Figures } from "../../omni/derive.ts";
import type { MergeObserver, UnmergedCause } from "../../omni/merge.ts";
import type { ProxyRequest } from "../../omni/proxy-request.ts";
import { textOf } from "../../omni/request-id.ts";
import type { Counter, Gauge, Histogram, MetricsRegistry } from "../../telemetry/metrics.ts";

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];
const TOKEN_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1];
/** Ids named in one census line. */
const MOST_EXAMPLES = 5;
/** Instances with a gauge of their own; a label's values must be bounded. */
const MOST_INSTANCES = 256;

/* The same objects again and again: a counter knows them by that. */
const ROLE_LABELS = { prefill: { role: "prefill" }, decode: { role: "decode" }, unknown: { role: "unknown" } };
const LATE_LABELS = { span: { what: "span" }, end: { what: "end" }, line: { what: "line" } };

/** Requests of one minute that lack a span, by what they lack. */
export interface Gaps {
  requests: number;
  withoutPrefillSpan: number;
  withoutDecodeSpan: number;
  examples: string[];
}

export class MergeTelemetry implements MergeObserver {
  readonly #seen: Counter;
  readonly #withPrefill: Counter;
  readonly #withDecode: Counter;
  readonly #complete: Counter;
  readonly #outcomes: Counter;
  readonly #merged: Counter;
  readonly #unmerged: Counter;
  readonly #guessed: Counter;
  readonly #late: Counter;
  readonly #early: Counter;
  readonly #unsampled: Counter;
  readonly #offset: Gauge;
  readonly #offsetUncertainty: Gauge;
  readonly #proxyUncertainty: Gauge;
  readonly #ttft: Histogram;
  readonly #tpot: Histogram;
  readonly #endToEnd: Histogram;
  readonly #instances = new Set<string>();
  #gaps: Gaps = noGaps();

  constructor(metrics: MetricsRegistry) {
    this.#seen = metrics.counter("omnishim_requests_seen", "Requests of Omni Proxy's log that were sent as a trace.");
    this.#withPrefill = metrics.counter(
      "omnishim_requests_with_prefill_span",
      "Requests with at least one prefill span of vLLM.",
    );
    this.#withDecode = metrics.counter(
      "omnishim_requests_with_decode_span",
      "Requests with at least one decode span of vLLM.",
    );
    this.#complete = metrics.counter(
      "omnishim_requests_complete",
      "Requests with their end and a span of each role that ran.",
    );
    this.#outcomes = metrics.counter("omnishim_requests_outcome", "Requests by omni.outcome.", ["outcome"]);
    this.#merged = metrics.counter(
      "omnishim_merged_spans",
      "Spans that were put into their request's trace, by role.",
      ["role"],
    );
    this.#unmerged = metrics.counter(
      "omnishim_unmerged_spans",
      "Spans that could not be put into a request's trace, or not under a state, by cause.",
      ["cause"],
    );
    this.#guessed = metrics.counter(
      "omnishim_guessed_traces",
      "Spans whose trace id was made from their request id alone, no line being known.",
    );
    this.#late = metrics.counter("omnishim_late", "Spans, ends and lines that came after their request was sent.", [
      "what",
    ]);
    this.#early = metrics.counter(
      "omnishim_early_releases",
      "Requests that were sent before their time because max_requests was reached.",
    );
    this.#unsampled = metrics.counter(
      "omnishim_unsampled_requests",
      "Requests that were not sent because their traceparent says not sampled (unsampled: drop).",
    );
    this.#offset = metrics.gauge(
      "omnishim_clock_offset_seconds",
      "How far a vLLM instance's clock is ahead of the proxy's.",
      ["instance"],
    );
    this.#offsetUncertainty = metrics.gauge(
      "omnishim_clock_offset_uncertainty_seconds",
      "The offset is right within plus or minus this.",
      ["instance"],
    );
    this.#proxyUncertainty = metrics.gauge(
      "omnishim_proxy_clock_uncertainty_seconds",
      "How well the proxy's stamps are known in unix time, of the newest request.",
    );
    this.#ttft = metrics.histogram(
      "omnishim_ttft_seconds",
      "Time to first token, request start to the proxy's first read; streamed answers only.",
      SECONDS,
    );
    this.#tpot = metrics.histogram(
      "omnishim_tpot_seconds",
      "Time per output token after the first; streamed answers only.",
      TOKEN_SECONDS,
    );
    this.#endToEnd = metrics.histogram("omnishim_e2e_seconds", "Request start to Received all tokens.", SECONDS);
    for (const cause of ["no_request_id", "unknown_request", "ambiguous", "role_unknown"])
      this.#unmerged.add(0, { cause });
  }

  request(request: ProxyRequest, figures: Figures, dropped: boolean): void {
    this.#seen.add(1);
    if (dropped) this.#unsampled.add(1);
    const wantsPrefill = request.has(P_RUNNING);
    const wantsDecode = request.has(D_RUNNING);
    if (request.joinedPrefill > 0) this.#withPrefill.add(1);
    if (request.joinedDecode > 0) this.#withDecode.add(1);
    const complete =
      request.ended && (request.joinedPrefill > 0 || !wantsPrefill) && (request.joinedDecode > 0 || !wantsDecode);
    if (complete) this.#complete.add(1);
    this.#outcomes.add(1, { outcome: figures.verdict.outcome });
    this.#endToEnd.observe(figures.endToEnd);
    if (figures.streamed && figures.ttft !== undefined) this.#ttft.observe(figures.ttft);
    if (figures.streamed && figures.tpot !== undefined) this.#tpot.observe(figures.tpot);
    const clock = request.clockEstimate();
    if (clock) this.#proxyUncertainty.set(clock.uncertaintyUs / 1e6);
    this.#gaps.requests++;
    const expectsSpans = request.traceparent?.sampled !== false && figures.verdict.outcome === "ok";
    if (!expectsSpans || complete) return;
    if (wantsPrefill && request.joinedPrefill === 0) this.#gaps.withoutPrefillSpan++;
    if (wantsDecode && request.joinedDecode === 0) this.#gaps.withoutDecodeSpan++;
    if (this.#gaps.examples.length < MOST_EXAMPLES)
      this.#gaps.examples.push(textOf(request.fullId ?? request.id ?? ""));
  }

  merged(role: Role | undefined): void {
    this.#merged.add(1, ROLE_LABELS[role ?? "unknown"]);
  }

  unmerged(cause: UnmergedCause, spans: number): void {
    this.#unmerged.add(spans, { cause });
  }

  guessed(): void {
    this.#guessed.add(1);
  }

  late(what: "span" | "end" | "line"): void {
    this.#late.add(1, LATE_LABELS[what]);
  }

  earlyRelease(): void {
    this.#early.add(1);
  }

  instanceClock(instance: string, estimate: ClockEstimate): void {
    if (!this.#instances.has(instance)) {
      if (this.#instances.size === MOST_INSTANCES) return;
      this.#instances.add(instance);
    }
    this.#offset.set(estimate.offsetUs / 1e6, { instance });
    this.#offsetUncertainty.set(estimate.uncertaintyUs / 1e6, { instance });
  }

  /** The gaps since the last call. */
  takeGaps(): Gaps {
    const gaps = this.#gaps;
    this.#gaps = noGaps();
    return gaps;
  }
}

function noGaps(): Gaps {
  return { requests: 0, withoutPrefillSpan: 0, withoutDecodeSpan: 0, examples: [] };
}
