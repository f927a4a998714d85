import type { CallContext, Consumer, Payload } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { concatBatches } from "../../pdata/concat.ts";
import type { OtlpBatch, Signal } from "../../pdata/payload.ts";
import { splitBatch } from "../../pdata/split.ts";
import type { Clock, Timer } from "../../telemetry/clock.ts";
import type { BatchConfig } from "./config.ts";
import type { Trigger } from "./telemetry.ts";

/**
 * How long nothing must come before a batch is sent as it is. Every sender in it waits for its answer, so when nobody
 * sends any more, waiting on would only cost time. Long enough that senders who were answered together come back within
 * it, short against a round trip over a network. Never above `timeout`.
 */
export const QUIET_MS = 5;

/** What the shards of a processor share. */
export interface ShardDeps<S extends Signal> {
  readonly config: BatchConfig;
  readonly clock: Clock;
  readonly next: Consumer<S>;
  flushed(trigger: Trigger, parts: readonly OtlpBatch<S>[]): void;
}

interface Waiting<S extends Signal> {
  readonly batch: OtlpBatch<S>;
  readonly caller: AbortSignal | undefined;
  accepted(): void;
  refused(error: ConsumeError): void;
}

/**
 * The batches of one combination of metadata values.
 *
 * States: resting (nothing waits, the last flush is QUIET_MS ago) -> a batch comes and is sent at once -> collecting:
 * batches wait until there are send_batch_size items, the first one is `timeout` old, or nothing came for QUIET_MS ->
 * sent as one -> collecting or, after QUIET_MS without a batch, resting. Flushes overlap: a slow `next` holds up only
 * those who sent to it.
 */
export class Shard<S extends Signal> {
  readonly #deps: ShardDeps<S>;
  readonly #metadata: CallContext["metadata"];
  readonly #quietMs: number;
  #waiting: Waiting<S>[] = [];
  #items = 0;
  #firstAt = 0;
  #lastAt = 0;
  #lastFlushAt = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  readonly #flushes = new Set<Promise<void>>();

  /** @param metadata goes with every batch. */
  constructor(deps: ShardDeps<S>, metadata: CallContext["metadata"]) {
    this.#deps = deps;
    this.#metadata = metadata;
    this.#quietMs = Math.min(deps.config.timeout, QUIET_MS);
  }

  /** Settles with the flush that holds the batch. */
  add(batch: OtlpBatch<S>, caller: AbortSignal | undefined): Promise<void> {
    const { config, clock } = this.#deps;
    return new Promise((accepted, refused) => {
      const now = clock.monotonic();
      if (this.#waiting.length === 0) this.#firstAt = now;
      this.#lastAt = now;
      this.#waiting.push({ batch, caller, accepted, refused });
      this.#items += batch.items;
      // As in the Collector, timeout 0 or send_batch_size 0 means: do not collect.
      if (config.timeout === 0 || this.#items >= config.send_batch_size) this.flush("size");
      else if (this.#waiting.length === 1 && now - this.#lastFlushAt >= this.#quietMs) this.flush("idle");
      else this.#timer ??= clock.after(this.#quietMs, () => this.#due());
    });
  }

  /** One timer serves both ends of waiting; it looks again instead of being set anew for every batch. */
  #due(): void {
    this.#timer = undefined;
    const { config, clock } = this.#deps;
    const now = clock.monotonic();
    const untilTimeout = this.#firstAt + config.timeout - now;
    const untilQuiet = this.#lastAt + this.#quietMs - now;
    if (untilTimeout <= 0) this.flush("timeout");
    else if (untilQuiet <= 0) this.flush("quiet");
    else this.#timer = clock.after(Math.min(untilTimeout, untilQuiet), () => this.#due());
  }

  /** Hands on what waits, if anything. */
  flush(trigger: Trigger): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const [first, ...rest] = this.#waiting;
    if (!first) return;
    const group: readonly [Waiting<S>, ...Waiting<S>[]] = [first, ...rest];
    this.#waiting = [];
    this.#items = 0;
    this.#lastFlushAt = this.#deps.clock.monotonic();
    const flush = this.#handOn(group, trigger).finally(() => this.#flushes.delete(flush));
    this.#flushes.add(flush);
  }

  /** Resolves when no flush is under way. */
  async settled(): Promise<void> {
    await Promise.all(this.#flushes);
  }

  async #handOn(group: readonly [Waiting<S>, ...Waiting<S>[]], trigger: Trigger): Promise<void> {
    const patience = new GroupPatience(group.map((waiting) => waiting.caller));
    try {
      const [first, ...rest] = group;
      const whole = concatBatches([first.batch, ...rest.map((waiting) => waiting.batch)]);
      const max = this.#deps.config.send_batch_max_size;
      const parts = max > 0 ? splitBatch(whole, max) : [whole];
      this.#deps.flushed(trigger, parts);
      const call: CallContext = {
        signal: patience.signal,
        ...(this.#metadata === undefined ? {} : { metadata: this.#metadata }),
      };
      const outcomes = await Promise.allSettled(
        parts.map((part) => this.#deps.next.consume(part as Payload[S] & OtlpBatch<S>, call)),
      );
      const failures = outcomes.flatMap((outcome) =>
        outcome.status === "rejected" ? [ConsumeError.from(outcome.reason)] : [],
      );
      // Of several failures a retryable one decides: sent again, what is refused for good will be so once more.
      const failure = failures.find((error) => error.disposition === "retryable") ?? failures[0];
      for (const waiting of group) failure ? waiting.refused(failure) : waiting.accepted();
    } catch (error) {
      for (const waiting of group) waiting.refused(ConsumeError.from(error));
    } finally {
      patience.release();
    }
  }
}

/** Aborts when every caller has given up: then nobody is left to whom the outcome matters. */
class GroupPatience {
  readonly #controller = new AbortController();
  readonly #release: (() => void)[] = [];

  constructor(callers: readonly (AbortSignal | undefined)[]) {
    let left = callers.length;
    for (const caller of callers) {
      if (!caller) continue;
      const gone = (): void => {
        if (--left === 0) this.#controller.abort(caller.reason);
      };
      if (caller.aborted) gone();
      else {
        caller.addEventListener("abort", gone, { once: true });
        this.#release.push(() => caller.removeEventListener("abort", gone));
      }
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  release(): void {
    for (const release of this.#release) release();
  }
}
