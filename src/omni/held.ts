/** Batches that wait, with their acknowledgement, until the lines of their requests are read or `span_wait` is over. */
import type { Decision, Joining } from "./span-join.ts";

/** A span of a held batch that is not decided yet. */
interface Undecided {
  readonly span: Joining;
  readonly batch: HeldBatch;
}

/** A batch on its way through the merge. */
export interface HeldBatch {
  readonly bytes: Uint8Array;
  readonly items: number;
  readonly joining: readonly Joining[];
  undecided: number;
  /** When it goes on in any case, process milliseconds. */
  dueMs: number;
  /** Called once, when every span is decided. */
  readonly done: (batch: HeldBatch) => void;
}

export class HeldBatches {
  readonly #waiting = new Map<string, Set<Undecided>>();
  /** In order of their due times. */
  readonly #batches = new Set<HeldBatch>();

  get size(): number {
    return this.#batches.size;
  }

  /** When the oldest batch goes on; undefined when none waits. */
  get dueMs(): number | undefined {
    for (const batch of this.#batches) return batch.dueMs;
    return undefined;
  }

  /** Holds a batch whose `undecided` spans are those of `joining` that have no decision. */
  hold(batch: HeldBatch): void {
    this.#batches.add(batch);
    for (const span of batch.joining) {
      if (span.decision) {
        keep(span.decision);
        continue;
      }
      const entry: Undecided = { span, batch };
      for (const key of span.keys) {
        const set = this.#waiting.get(key);
        if (set) set.add(entry);
        else this.#waiting.set(key, new Set([entry]));
      }
    }
  }

  /** Something new is known of the request with this id: `decide` is asked again for the spans that may be its. */
  stir(key: string, decide: (span: Joining) => Decision): void {
    const entries = this.#waiting.get(key);
    if (!entries) return;
    for (const entry of [...entries]) {
      const decision = decide(entry.span);
      if (decision.kind !== "wait") this.#settle(entry, decision);
    }
  }

  /** Lets the batches go whose time is over (all of them without `nowMs`): `decide` must decide. */
  expire(decide: (span: Joining) => Decision, nowMs = Number.POSITIVE_INFINITY): void {
    for (const batch of [...this.#batches]) {
      if (batch.dueMs > nowMs) return;
      for (const span of batch.joining) {
        if (span.decision) continue;
        this.#forget({ span, batch });
        span.decision = decide(span);
      }
      batch.undecided = 0;
      this.#finish(batch);
    }
  }

  #settle(entry: Undecided, decision: Decision): void {
    this.#forget(entry);
    keep(decision);
    entry.span.decision = decision;
    entry.batch.undecided--;
    if (entry.batch.undecided === 0) this.#finish(entry.batch);
  }

  #forget(entry: Undecided): void {
    for (const key of entry.span.keys) {
      const set = this.#waiting.get(key);
      if (!set) continue;
      for (const other of set) if (other.span === entry.span) set.delete(other);
      if (set.size === 0) this.#waiting.delete(key);
    }
  }

  #finish(batch: HeldBatch): void {
    this.#batches.delete(batch);
    batch.done(batch);
  }
}

/** A remembered request may be forgotten while the batch waits. */
function keep(decision: Decision): void {
  if (decision.kind === "remembered") decision.request.keep?.();
}
