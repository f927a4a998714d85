import type { Clock } from "../../src/telemetry/clock.ts";

/** A clock that only moves when told. Timers fire in order of their time, then of their making. */
export class FakeClock implements Clock {
  #now: number;
  #mono = 0;
  #order = 0;
  readonly #timers = new Set<{ at: number; order: number; fire: () => void }>();

  constructor(startMs = 1_795_321_800_000) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#mono;
  }

  after(ms: number, fire: () => void): { cancel(): void } {
    const timer = { at: this.#mono + ms, order: this.#order++, fire };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** Timers that are waiting. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves on by `ms`, firing what falls due, and lets promises settle between timers. */
  async advance(ms: number): Promise<void> {
    const until = this.#mono + ms;
    await settle();
    for (;;) {
      const next = [...this.#timers]
        .filter((timer) => timer.at <= until)
        .sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (!next) break;
      this.#timers.delete(next);
      this.#now += next.at - this.#mono;
      this.#mono = next.at;
      next.fire();
      await settle();
    }
    this.#now += until - this.#mono;
    this.#mono = until;
  }

  /** Steps the wall clock only, as `date -s` does. */
  stepWall(ms: number): void {
    this.#now += ms;
  }
}

/** Lets everything that is already resolvable run. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}
