import type { CallContext, Consumer, Payload, Signal } from "../../src/kernel/api.ts";

/** A consumer that records what it gets, and refuses what it is told to. */
export class RecordingSink<S extends Signal> implements Consumer<S> {
  readonly mutatesData = false;
  readonly batches: Payload[S][] = [];
  /** Called before a batch is recorded; a throw refuses it. */
  fault: ((batch: Payload[S]) => void | Promise<void>) | undefined;

  async consume(batch: Payload[S], _call: CallContext): Promise<void> {
    await this.fault?.(batch);
    this.batches.push(batch);
  }

  get items(): number {
    return this.batches.reduce((sum, batch) => sum + batch.items, 0);
  }

  /** All batches as one request: concatenated OTLP requests are one request. */
  get bytes(): Buffer {
    return Buffer.concat(this.batches.map((batch) => batch.bytes));
  }
}
