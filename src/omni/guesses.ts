/** Traces that spans were given before any line told of their request. The request takes them over when its lines come. */
import { guessedTraceId, type RequestKey } from "./identity.ts";
import { LOGGED_ID_BYTES } from "./line.ts";
import type { ProxyRequest } from "./proxy-request.ts";
import { canonicalId, fullId, uuidTraceId } from "./request-id.ts";
import type { SpanFacts } from "./span-scan.ts";

const MOST_IDS = 100_000;
const MOST_OF_ONE_ID = 64;
/** How far a guessed span may begin outside its request besides the clock's uncertainty. */
const SLACK_US = 2000;

interface Guess {
  readonly traceId: string;
  readonly startUs: number;
  readonly atMs: number;
  readonly fullId: string;
  /** The key (by identity) of the request that took the trace over: one trace is one request's. */
  claimedBy: RequestKey | undefined;
}

export class Guesses {
  /** By canonical id, oldest first; the ids in order of their newest guess. */
  readonly #byId = new Map<string, Guess[]>();
  readonly #keepMs: number;

  constructor(keepMs: number) {
    this.#keepMs = keepMs;
  }

  /** The trace for a span whose request is unknown: the UUID's bits, else a hash of its canonical id. */
  make(facts: SpanFacts, nowMs: number): string {
    const id = canonicalId(facts.requestId);
    const traceId = uuidTraceId(id) ?? guessedTraceId(id);
    const earlier = this.#byId.get(id) ?? [];
    this.#byId.delete(id);
    this.#byId.set(id, [
      ...earlier.slice(1 - MOST_OF_ONE_ID),
      {
        traceId,
        startUs: facts.startUs,
        atMs: nowMs,
        fullId: fullId(facts.requestId),
        claimedBy: earlier[0]?.claimedBy,
      },
    ]);
    if (this.#byId.size > MOST_IDS) this.#byId.delete(this.#byId.keys().next().value as string);
    return traceId;
  }

  /** The trace that a span of this request was given, if one was; also tells the request its whole id. */
  claim(request: ProxyRequest): string | undefined {
    const guesses = this.#byId.get(request.id as string);
    if (!guesses) return undefined;
    const startUs = request.startUs() ?? 0;
    const endUs = request.ended ? (request.lastUs() ?? 0) : Number.POSITIVE_INFINITY;
    const slack = (request.clockEstimate()?.uncertaintyUs ?? 0) + SLACK_US;
    const guess = guesses.find((one) => one.startUs >= startUs - slack && one.startUs <= endUs + slack);
    const key = request.key();
    if (!guess || guesses.some(({ claimedBy }) => claimedBy && claimedBy !== key)) return undefined;
    for (const one of guesses) one.claimedBy = key;
    if (request.id?.length === LOGGED_ID_BYTES && guess.fullId.length > LOGGED_ID_BYTES)
      request.fullId ??= guess.fullId;
    return guess.traceId;
  }

  expire(nowMs: number): void {
    for (const [id, guesses] of this.#byId) {
      if (nowMs - (guesses.at(-1) as Guess).atMs < this.#keepMs) return;
      this.#byId.delete(id);
    }
  }
}
