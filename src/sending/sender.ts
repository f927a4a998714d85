/**
 * The exporter helper in small pieces: each takes a `Sender` and gives one that does more (timeout, retry, counting).
 * `exporter.ts` puts them together in the Collector's order: queue -> counting -> retry -> timeout -> the exporter's own.
 */
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

/** A child of `parent`. Unlike `AbortSignal.any` it leaves nothing behind at a parent that lives as long as the process. */
export function linkAbort(...parents: readonly (AbortSignal | undefined)[]): LinkedAbort {
  const controller = new AbortController();
  const links: (() => void)[] = [];
  for (const parent of parents) {
    if (!parent) continue;
    const follow = (): void => controller.abort(parent.reason);
    if (parent.aborted) follow();
    else {
      parent.addEventListener("abort", follow, { once: true });
      links.push(() => parent.removeEventListener("abort", follow));
    }
  }
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
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
