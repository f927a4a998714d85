/** Keeps a flood of equal events from becoming a flood of log lines. */
import type { Clock } from "../telemetry/clock.ts";

/** Lets one event a key through every `intervalMs`, and says how many were held back since. Keys must be a closed set. */
export class Throttle {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #keys = new Map<string, { next: number; held: number }>();

  constructor(clock: Clock, intervalMs = 60_000) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  /** The number of events held back since the last one let through, or undefined when this one is to be held back too. */
  pass(key: string): number | undefined {
    const now = this.#clock.monotonic();
    const entry = this.#keys.get(key);
    if (entry && now < entry.next) {
      entry.held++;
      return undefined;
    }
    this.#keys.set(key, { next: now + this.#intervalMs, held: 0 });
    return entry?.held ?? 0;
  }
}
