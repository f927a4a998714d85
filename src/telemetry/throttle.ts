import type { Clock } from "./clock.ts";

/** What `pass` says of an event that may be logged. */
export interface Passed {
  /** Events held back since the last one that passed. */
  readonly held: number;
  /** The sum of the weights of this event and of those held back. */
  readonly weight: number;
}

/** Keeps a flood of equal events from becoming a flood of log lines. Keys must be a closed set. */
export class Throttle {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #keys = new Map<string, { next: number; held: number; weight: number }>();

  /** Lets one event a key through every `intervalMs`. */
  constructor(clock: Clock, intervalMs = 60_000) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  /**
   * Undefined when the event is to be held back.
   * @param weight what to sum up: 200 lost spans are one event of weight 200.
   */
  pass(key: string, weight = 1): Passed | undefined {
    const now = this.#clock.monotonic();
    const entry = this.#keys.get(key);
    if (entry && now < entry.next) {
      entry.held++;
      entry.weight += weight;
      return undefined;
    }
    this.#keys.set(key, { next: now + this.#intervalMs, held: 0, weight: 0 });
    return { held: entry?.held ?? 0, weight: weight + (entry?.weight ?? 0) };
  }
}
