import type { Clock } from "../../telemetry/clock.ts";

/** Of what comes within a second the first `initial`, then every `thereafter`th (0: no more): zap's sampler. */
export class Sampler {
  readonly #clock: Clock;
  readonly #initial: number;
  readonly #thereafter: number;
  #second = Number.NEGATIVE_INFINITY;
  #count = 0;

  constructor(clock: Clock, initial: number, thereafter: number) {
    this.#clock = clock;
    this.#initial = initial;
    this.#thereafter = thereafter;
  }

  /** Whether to show the one that comes now. */
  pass(): boolean {
    const second = Math.floor(this.#clock.monotonic() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#count = 0;
    }
    const beyond = ++this.#count - this.#initial;
    return beyond <= 0 || (this.#thereafter > 0 && beyond % this.#thereafter === 0);
  }
}
