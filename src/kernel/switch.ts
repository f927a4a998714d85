import type { CallContext, Consumer, Payload, Signal } from "./api.ts";

/**
 * What stands between a component and the next stage, so that a reload can put another stage behind a component that goes on
 * running. States: open (hands on) and held (calls wait); `hold` and `release` change between them.
 */
export class Switch<S extends Signal> implements Consumer<S> {
  #target: Consumer<S>;
  #held: { readonly released: Promise<void>; release(): void } | undefined;

  constructor(target: Consumer<S>) {
    this.#target = target;
  }

  get mutatesData(): boolean {
    return this.#target.mutatesData;
  }

  consume(batch: Payload[S], call: CallContext): Promise<void> {
    return this.#held ? this.#consumeLater(batch, call, this.#held.released) : this.#target.consume(batch, call);
  }

  async #consumeLater(batch: Payload[S], call: CallContext, released: Promise<void>): Promise<void> {
    const wasShared = !this.mutatesData;
    await released;
    // Whoever called did not count on a stage that writes.
    const own = wasShared && this.mutatesData ? { ...batch, bytes: batch.bytes.slice() } : batch;
    return this.consume(own, call);
  }

  /** Calls from here on go to `target`. */
  point(target: Consumer<S>): void {
    this.#target = target;
  }

  /** Calls from here on wait. */
  hold(): void {
    if (this.#held) return;
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#held = { released, release };
  }

  /** Calls that wait, and all from here on, are handed on. */
  release(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.release();
  }
}
