import type { CallContext, Component, Consumer, Payload, Settings } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import type { OtlpBatch, Signal } from "../../pdata/payload.ts";
import type { BatchConfig } from "./config.ts";
import { Shard, type ShardDeps } from "./shard.ts";
import { BatchTelemetry } from "./telemetry.ts";

/**
 * Joins batches into larger ones, a shard for each combination of the values of `metadata_keys`. `consume` resolves
 * when `next` has accepted the flush that holds the batch, and rejects with the flush's error (docs/adr/010).
 */
export class BatchProcessor<S extends Signal> implements Component, Consumer<S> {
  readonly #keys: readonly string[];
  readonly #limit: number;
  readonly #deps: ShardDeps<S>;
  readonly #shards = new Map<string, Shard<S>>();
  #stopping = false;

  constructor(config: BatchConfig, settings: Settings, next: Consumer<S>) {
    const telemetry = new BatchTelemetry(settings, () => this.#shards.size);
    this.#keys = config.metadata_keys.map((key) => key.toLowerCase());
    this.#limit = config.metadata_cardinality_limit;
    this.#deps = {
      config,
      clock: settings.clock,
      next,
      flushed: (trigger, parts) => telemetry.flushed(trigger, parts),
    };
  }

  /** A batch that came alone goes on as it is, so whoever writes into it must be known upstream. */
  get mutatesData(): boolean {
    return this.#deps.next.mutatesData;
  }

  async start(): Promise<void> {}

  async consume(batch: Payload[S], call: CallContext): Promise<void> {
    const given: OtlpBatch<S> = batch as Payload[S] & OtlpBatch<S>;
    if (this.#stopping) throw new ConsumeError("retryable", "the batch processor is shutting down", { grpcCode: 14 });
    if (given.items === 0) return;
    await this.#shardOf(call).add(given, call.signal);
  }

  #shardOf(call: CallContext): Shard<S> {
    const values = this.#keys.map((key) => call.metadata?.get(key));
    const id = JSON.stringify(values.map((value) => value ?? null));
    const known = this.#shards.get(id);
    if (known) return known;
    if (this.#limit > 0 && this.#shards.size >= this.#limit)
      throw new ConsumeError(
        "permanent",
        `too many batcher metadata-value combinations: ${this.#limit} of ${this.#keys.join(", ")} (setting: metadata_cardinality_limit)`,
      );
    const metadata = new Map(
      this.#keys.flatMap((key, at) => {
        const value = values[at];
        return value === undefined ? [] : [[key, value] as const];
      }),
    );
    const shard = new Shard(this.#deps, this.#keys.length > 0 ? metadata : undefined);
    this.#shards.set(id, shard);
    return shard;
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#stopping = true;
    for (const shard of this.#shards.values()) shard.flush("shutdown");
    const settled = Promise.all([...this.#shards.values()].map((shard) => shard.settled()));
    if (deadline.aborted) return;
    await new Promise<void>((resolve) => {
      const stop = (): void => resolve();
      deadline.addEventListener("abort", stop, { once: true });
      void settled.then(() => {
        deadline.removeEventListener("abort", stop);
        resolve();
      });
    });
  }
}
