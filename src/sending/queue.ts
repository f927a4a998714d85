import { ConsumeError } from "../kernel/errors.ts";
import { concatBatches } from "../pdata/concat.ts";
import { splitBatch } from "../pdata/split.ts";
import type { Clock } from "../telemetry/clock.ts";
import { type Division, type FailedPart, sendDividing } from "./divide.ts";
import { batchSizer, type QueueConfig, type Sizer } from "./queue-config.ts";
import { type AnyBatch, orAborted, type Sender, whenAborted } from "./sender.ts";
import { addLoad, emptyLoad, type QueueEntry, type QueueLoad, type QueueStorage } from "./storage.ts";

/** google.rpc.Code UNAVAILABLE: what a sender gets that may come again (collector-behaviour: "sending queue is full"). */
const UNAVAILABLE = 14;

/** When a sender may come again after a full queue. Short, because SDKs give a whole export 10 s. */
const FULL_RETRY_AFTER_MS = 1000;

/** How long a durable batch rests that all its tries could not deliver; others go first. */
const SHORTEST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/** What a queue needs besides its configuration. */
export interface QueueDeps {
  readonly clock: Clock;
  readonly storage: QueueStorage;
  /** Delivers one request or gives up on it for good; the queue does not ask again. */
  readonly send: Sender;
  /** Whether a durable batch that a peer refused for now is kept and tried again; if not, it is dropped as in memory. */
  readonly triesAgain: boolean;
  /** Told of each batch that was not taken. */
  onRefused(batch: AnyBatch): void;
  /** How a batch is divided that a peer refuses. */
  readonly division: Omit<Division, "isKept">;
  /** Told of what was given up of a group for good, before it leaves the queue. `isAwaited`: its sender is told too. Never rejects. */
  onFailed(failed: readonly FailedPart[], isAwaited: boolean): Promise<void>;
  /** Told of each accepted batch that the storage cannot give back. */
  onLost(items: number): void;
}

/** A batch that waits for room. */
interface Waiting {
  readonly size: number;
  admit(): void;
  refuse(error: ConsumeError): void;
}

type Settle = (error?: ConsumeError) => void;

/**
 * The sending queue: takes batches as long as `queue_size` allows, and gives them to `num_consumers` senders at once.
 * What is being sent still counts, so `queue_size` bounds all that the exporter holds.
 *
 * States: open -> (shutdown) draining: refuses new batches, sends what it has -> (deadline) aborted: stops sending ->
 * closed. Consumers take turns in reading, so one at a time forms a group when `batch` is set.
 */
export class SendingQueue {
  readonly #config: QueueConfig;
  readonly #deps: QueueDeps;
  readonly #abort = new AbortController();
  readonly #blocked: Waiting[] = [];
  readonly #waitingForResult = new Map<AnyBatch, Settle>();
  #size = 0;
  /** Batches that have room and are on their way into the storage. */
  #entering = 0;
  #draining = false;
  #consumers: Promise<void>[] = [];
  #turn: Promise<unknown> = Promise.resolve();
  /** A peer was away while draining: what is durable is not tried any more in this run. */
  #isLeaving = false;
  /** Grows with each batch that came: tells a reader that one came while it was looking. */
  #arrivals = 0;
  #wake: (() => void) | undefined;

  constructor(config: QueueConfig, deps: QueueDeps) {
    this.#config = config;
    this.#deps = deps;
  }

  /** In units of `sizer`: waiting and being sent. */
  get size(): number {
    return this.#size;
  }

  /** `queue_size`. */
  get capacity(): number {
    return this.#config.queue_size;
  }

  /** What is not delivered when the process stops is kept for the next run. */
  get isDurable(): boolean {
    return this.#deps.storage.isDurable;
  }

  /** Whether a batch that `send` failed to deliver stays in the queue. */
  isKept(failure: ConsumeError): boolean {
    return (
      this.isDurable &&
      failure.disposition === "retryable" &&
      (this.#deps.triesAgain || this.#draining || this.#abort.signal.aborted)
    );
  }

  /** Opens the storage and begins to send. */
  async start(): Promise<void> {
    const left = await this.#deps.storage.open({
      ready: () => this.#arrived(),
      lost: (load) => {
        this.#release(load[this.#config.sizer]);
        this.#deps.onLost(load.items);
      },
    });
    this.#size += left[this.#config.sizer];
    this.#consumers = Array.from({ length: this.#config.num_consumers }, () => this.#consume());
  }

  /**
   * Resolves when the storage has the batch; with `wait_for_result` when it was delivered.
   * @param signal the caller's patience: ends waiting for room (`block_on_overflow`) and for the result.
   * @throws ConsumeError retryable when full or stopping, permanent when the batch can never fit.
   */
  async offer(batch: AnyBatch, signal?: AbortSignal): Promise<void> {
    // A copy, because the same batch may come twice: by two pipelines that share this exporter.
    const kept = this.#config.wait_for_result ? { ...batch } : batch;
    let result: Promise<void> | undefined;
    try {
      await this.#reserve(kept, signal);
      if (this.#config.wait_for_result) result = this.#resultOf(kept, signal);
      await this.#put(kept);
    } catch (error) {
      this.#deps.onRefused(batch);
      throw ConsumeError.from(error);
    }
    await result;
  }

  /** Takes room for the batch. */
  async #reserve(batch: AnyBatch, signal: AbortSignal | undefined): Promise<void> {
    const { queue_size, sizer, block_on_overflow } = this.#config;
    const size = sizeOf(batch, sizer);
    if (this.#draining) throw new ConsumeError("retryable", "the exporter is shutting down", { grpcCode: UNAVAILABLE });
    if (size > queue_size)
      throw new ConsumeError(
        "permanent",
        `element size too large: ${size} ${sizer} never fit into queue_size ${queue_size}; raise queue_size or send smaller batches`,
      );
    if (this.#blocked.length > 0 || this.#size + size > queue_size) {
      if (!block_on_overflow)
        throw new ConsumeError("retryable", "sending queue is full", {
          grpcCode: UNAVAILABLE,
          retryAfterMs: FULL_RETRY_AFTER_MS,
        });
      await this.#room(size, signal);
    } else this.#admit(size);
  }

  #admit(size: number): void {
    this.#size += size;
    this.#entering++;
  }

  async #put(batch: AnyBatch): Promise<void> {
    try {
      await this.#deps.storage.put(batch);
    } catch (error) {
      this.#waitingForResult.delete(batch);
      this.#release(sizeOf(batch, this.#config.sizer));
      throw error;
    } finally {
      this.#entering--;
      this.#arrived();
    }
  }

  #arrived(): void {
    this.#arrivals++;
    this.#wake?.();
  }

  /**
   * Refuses new batches and sends those it has, until done or until `deadline` aborts.
   * A durable storage keeps what a peer that is away does not take; the rest is not tried then.
   * @returns what could not be sent: lost, or kept where the storage is durable.
   */
  async shutdown(deadline: AbortSignal): Promise<QueueLoad> {
    this.#draining = true;
    const stopping = new ConsumeError("retryable", "the exporter is shutting down", { grpcCode: UNAVAILABLE });
    for (const waiting of this.#blocked.splice(0)) waiting.refuse(stopping);
    this.#wake?.();
    const drained = Promise.all(this.#consumers);
    await orAborted(drained, deadline).catch(() => {
      this.#abort.abort(new ConsumeError("retryable", "the exporter was shut down before an answer came"));
      this.#wake?.();
      return drained;
    });
    const left = await this.#deps.storage.close();
    for (const settle of this.#waitingForResult.values()) settle(stopping);
    this.#waitingForResult.clear();
    return left;
  }

  async #consume(): Promise<void> {
    for (;;) {
      const turn = this.#turn.then(() => this.#collect());
      this.#turn = turn.catch(() => {});
      const entries = await turn;
      const [first, ...rest] = entries;
      if (!first) return;
      await this.#deliver([first, ...rest]);
    }
  }

  /** The next entry, or a group of them; empty when the queue is drained or aborted. */
  async #collect(): Promise<QueueEntry[]> {
    const first = await this.#next(Number.POSITIVE_INFINITY);
    if (!first) return [];
    const group = [first];
    const { batch } = this.#config;
    if (!batch) return group;
    const sizer = batchSizer(this.#config);
    const until = this.#deps.clock.monotonic() + batch.flush_timeout;
    for (let size = sizeOf(first.batch, sizer); size < batch.min_size; ) {
      const more = await this.#next(until);
      if (!more) break;
      group.push(more);
      size += sizeOf(more.batch, sizer);
    }
    return group;
  }

  /** Waits for an entry until the monotonic time `until`. */
  async #next(until: number): Promise<QueueEntry | undefined> {
    for (;;) {
      if (this.#abort.signal.aborted || this.#isLeaving) return undefined;
      const seen = this.#arrivals;
      const entry = await this.#deps.storage.take();
      if (entry || (this.#draining && this.#entering === 0)) return entry;
      const left = until - this.#deps.clock.monotonic();
      if (left <= 0) return undefined;
      if (this.#arrivals === seen) await this.#arrival(left);
    }
  }

  #arrival(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = Number.isFinite(ms) ? this.#deps.clock.after(ms, () => wake()) : undefined;
      const wake = (): void => {
        timer?.cancel();
        this.#wake = undefined;
        resolve();
      };
      this.#wake = wake;
    });
  }

  async #deliver(entries: readonly [QueueEntry, ...QueueEntry[]]): Promise<void> {
    const [first, ...rest] = entries;
    const whole = concatBatches([first.batch, ...rest.map((entry) => entry.batch)]);
    const { batch, wait_for_result } = this.#config;
    const parts = batch && batch.max_size > 0 ? splitBySize(whole, batch.max_size, batchSizer(this.#config)) : [whole];
    const { failed, kept } = await sendDividing(this.#deps.send, parts, this.#abort.signal, {
      ...this.#deps.division,
      isKept: (failure) => this.isKept(failure),
    });
    if (kept) return this.#keep(entries, kept);
    if (failed.length > 0) await this.#deps.onFailed(failed, wait_for_result);
    const failure = failed.at(-1)?.failure;
    for (const entry of entries) {
      entry.done();
      this.#release(sizeOf(entry.batch, this.#config.sizer));
      this.#waitingForResult.get(entry.batch)?.(failure);
      this.#waitingForResult.delete(entry.batch);
    }
  }

  /** Puts durable batches back; parts that were delivered come twice then. */
  #keep(entries: readonly QueueEntry[], failure: ConsumeError): void {
    if (this.#draining) this.#isLeaving = true;
    const pause = Math.min(Math.max(failure.retryAfterMs ?? 0, SHORTEST_PAUSE_MS), LONGEST_PAUSE_MS);
    for (const entry of entries) entry.later(pause);
  }

  #resultOf(batch: AnyBatch, signal: AbortSignal | undefined): Promise<void> {
    const result = new Promise<void>((resolve, reject) => {
      this.#waitingForResult.set(batch, (error) => (error ? reject(error) : resolve()));
    });
    result.catch(() => {});
    return signal ? orAborted(result, signal).catch((error) => Promise.reject(ConsumeError.from(error))) : result;
  }

  #room(size: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      let forget = (): void => {};
      const waiting: Waiting = {
        size,
        admit: () => {
          forget();
          this.#admit(size);
          resolve();
        },
        refuse: (error) => {
          forget();
          reject(error);
        },
      };
      this.#blocked.push(waiting);
      if (!signal) return;
      forget = whenAborted(signal, () => {
        this.#blocked.splice(this.#blocked.indexOf(waiting), 1);
        reject(ConsumeError.from(signal.reason));
      });
    });
  }

  #release(size: number): void {
    this.#size -= size;
    for (;;) {
      const next = this.#blocked[0];
      if (!next || this.#size + next.size > this.#config.queue_size) return;
      this.#blocked.shift();
      next.admit();
    }
  }
}

function sizeOf(batch: AnyBatch, sizer: Sizer): number {
  return addLoad(emptyLoad, batch)[sizer];
}

/** Parts of at most `max` items, or of at most `max` bytes as far as single items are smaller than that. */
function splitBySize(batch: AnyBatch, max: number, sizer: "items" | "bytes"): AnyBatch[] {
  if (sizer === "items") return splitBatch(batch, max);
  if (batch.bytes.length <= max || batch.items < 2) return [batch];
  const fitting = Math.floor((batch.items * max) / batch.bytes.length);
  const perPart = Math.max(1, Math.min(fitting, Math.ceil(batch.items / 2)));
  return splitBatch(batch, perPart).flatMap((part) => splitBySize(part, max, sizer));
}
