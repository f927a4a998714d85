/** What was seen while logs were played through the merge: counts for the report, and what nobody should overlook. */
import { D_RUNNING, P_RUNNING, type Role } from "../omni/actions.ts";
import type { Figures } from "../omni/derive.ts";
import type { MergeObserver, Placement, UnmergedCause } from "../omni/merge.ts";
import type { ProxyRequest } from "../omni/proxy-request.ts";
import type { SpanFacts } from "../omni/span-scan.ts";

/** Counts of one replay. */
export interface ReplayCounts {
  requests: number;
  /** Ended, and with a vLLM span of each role that their states call for. */
  complete: number;
  withPrefillSpan: number;
  withDecodeSpan: number;
  /** Requests by omni.outcome. */
  outcomes: Record<string, number>;
  /** Requests that omnilogger lines told of. */
  withEngineLines: number;
  mergedSpans: number;
  /** Spans by why they could not be put into a request's trace, or not under a state. */
  unmergedSpans: Partial<Record<UnmergedCause, number>>;
  /** Requests that were finished before their time because too many were open. */
  earlyReleases: number;
}

export class Census implements MergeObserver {
  readonly counts: ReplayCounts = {
    requests: 0,
    complete: 0,
    withPrefillSpan: 0,
    withDecodeSpan: 0,
    outcomes: {},
    withEngineLines: 0,
    mergedSpans: 0,
    unmergedSpans: {},
    earlyReleases: 0,
  };
  readonly #placed: ((request: ProxyRequest) => void) | undefined;

  /** `placed` is told of every span that is put under a request. */
  constructor(placed?: (request: ProxyRequest) => void) {
    this.#placed = placed;
  }

  request(request: ProxyRequest, figures: Figures): void {
    const { counts } = this;
    counts.requests++;
    if (request.joinedPrefill > 0) counts.withPrefillSpan++;
    if (request.joinedDecode > 0) counts.withDecodeSpan++;
    const wanted =
      (request.joinedPrefill > 0 || !request.has(P_RUNNING)) && (request.joinedDecode > 0 || !request.has(D_RUNNING));
    if (request.ended && wanted) counts.complete++;
    if (request.engine) counts.withEngineLines++;
    const { outcome } = figures.verdict;
    counts.outcomes[outcome] = (counts.outcomes[outcome] ?? 0) + 1;
  }

  merged(_role: Role | undefined, _facts: SpanFacts, decision: Placement): void {
    this.counts.mergedSpans++;
    if (decision.kind === "request") this.#placed?.(decision.request);
  }

  unmerged(cause: UnmergedCause, spans: number): void {
    this.counts.unmergedSpans[cause] = (this.counts.unmergedSpans[cause] ?? 0) + spans;
  }

  earlyRelease(): void {
    this.counts.earlyReleases++;
  }

  guessed(): void {}
  late(): void {}
  instanceClock(): void {}
}
