/** Time as a dependency: batch, retry and merge run on a fake clock in tests (test/kit/clock.ts). */

/** A pending timer. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Unix time in milliseconds; may step when the system clock is set. */
  now(): number;
  /** Milliseconds of a clock that never steps; its zero is arbitrary. */
  monotonic(): number;
  /** Calls `fire` once after `ms` (0 = in the next turn of the event loop); does not keep the process alive. */
  after(ms: number, fire: () => void): Timer;
}

/** Resolves after `ms`; rejects with the signal's reason when `signal` aborts first. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(ms, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Node's longest timer is 2^31-1 ms; longer waits are made of several. */
const LONGEST = 2 ** 31 - 1;

/** The process's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, fire) {
    let handle: NodeJS.Timeout;
    const arm = (left: number): void => {
      handle = setTimeout(() => (left > LONGEST ? arm(left - LONGEST) : fire()), Math.min(left, LONGEST));
      handle.unref();
    };
    arm(ms);
    return { cancel: () => clearTimeout(handle) };
  },
};
