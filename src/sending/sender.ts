/**
 * The exporter helper in small pieces: each takes a `Sender` and gives one that does more (timeout, retry, counting).
 * `exporter.ts` puts them together in the Collector's order: queue -> counting -> retry -> timeout -> the exporter's own.
 */
import { setMaxListeners } from "node:events";
import type { OtlpBatch, Signal } from "../pdata/payload.ts";

/** A batch of any signal. */
export type AnyBatch = OtlpBatch<Signal>;

/**
 * Hands one request to a peer. Resolves when the peer has it; a rejection is a `ConsumeError` whose `disposition` says
 * whether sending it again can help. `signal` aborts when nobody waits for the outcome any more.
 */
export type Sender = (batch: AnyBatch, signal: AbortSignal) => Promise<void>;

/** An abort signal that follows `parent`, and that this side can abort too. Call `release` when the work is over. */
export interface LinkedAbort {
  readonly signal: AbortSignal;
  abort(reason: unknown): void;
  release(): void;
}

/**
 * Calls `then` when `signal` aborts, at once when it has.
 * @returns a function that forgets it
 */
export function whenAborted(signal: AbortSignal, then: () => void): () => void {
  if (signal.aborted) {
    then();
    return () => {};
  }
  // One signal stops many sends at once, as meant; Node takes more than ten listeners for a leak and says so.
  setMaxListeners(0, signal);
  signal.addEventListener("abort", then, { once: true });
  return () => signal.removeEventListener("abort", then);
}

/** A child of `parents`. Unlike `AbortSignal.any` it leaves nothing behind at a parent that lives as long as the process. */
export function linkAbort(...parents: readonly (AbortSignal | undefined)[]): LinkedAbort {
  const controller = new AbortController();
  const links = parents.flatMap((parent) =>
    parent ? [whenAborted(parent, () => controller.abort(parent.reason))] : [],
  );
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    release: () => {
      for (const unlink of links) unlink();
    },
  };
}

/** Settles as `work` does, or rejects with the signal's reason when that aborts first; `work` is then left alone. */
export function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const forget = whenAborted(signal, () => reject(signal.reason));
    work.then(resolve, reject).finally(forget);
  });
}
