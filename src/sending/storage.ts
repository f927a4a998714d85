/** Where a sending queue keeps what it accepted. The queue does the counting and the waiting; a storage only keeps. */
import type { AnyBatch } from "./sender.ts";

/** How much something holds, in each of the units of `sizer`. */
export interface QueueLoad {
  readonly requests: number;
  readonly items: number;
  readonly bytes: number;
}

/** A batch that was taken for sending. It stays the storage's until `done`. */
export interface QueueEntry {
  readonly batch: AnyBatch;
  /** Its fate is settled: the peer has it, or it was refused for good and counted. It may be forgotten. */
  done(): void;
  /** It could not be delivered now: it comes again, as the last, after `ms` at the earliest. */
  later(ms: number): void;
}

/** What a storage tells its queue. */
export interface StorageListener {
  /** Something can be taken that could not before, without a `put`. */
  ready(): void;
  /** A batch that was accepted cannot be read any more; it will not be given. */
  lost(load: QueueLoad): void;
}

/** First in, first out. Calls of `take` never overlap; all others come at any time. */
export interface QueueStorage {
  /** What is not done outlives the process, so nothing is given up because the process stops or a peer is away. */
  readonly isDurable: boolean;
  /** Makes ready. Resolves to what an earlier run left behind, which `take` gives first. */
  open(listener: StorageListener): Promise<QueueLoad>;
  /**
   * Resolves when the batch is as safe as this storage makes it: that is when the sender gets its answer.
   * @throws ConsumeError when it could not be kept; then nothing of it was.
   */
  put(batch: AnyBatch): Promise<void>;
  /** The oldest batch that nobody took, the very object when `put` gave it in this run; undefined when there is none. */
  take(): Promise<QueueEntry | undefined>;
  /** Frees everything. Resolves to what was not `done`: that is lost, or kept for the next run where it is durable. */
  close(): Promise<QueueLoad>;
}

/** No requests, no items, no bytes. */
export const emptyLoad: QueueLoad = { requests: 0, items: 0, bytes: 0 };

/** `load` with one more batch. */
export function addLoad(load: QueueLoad, batch: AnyBatch): QueueLoad {
  return { requests: load.requests + 1, items: load.items + batch.items, bytes: load.bytes + batch.bytes.length };
}

/** Keeps batches in memory: they are safe as long as the process lives. */
export class MemoryStorage implements QueueStorage {
  readonly isDurable = false;
  #listener: StorageListener | undefined;
  #waiting: (AnyBatch | undefined)[] = [];
  /** Where the oldest one is; the slots before it are free, and are cut off now and then. */
  #head = 0;

  async open(listener: StorageListener): Promise<QueueLoad> {
    this.#listener = listener;
    return emptyLoad;
  }

  async put(batch: AnyBatch): Promise<void> {
    this.#waiting.push(batch);
  }

  async take(): Promise<QueueEntry | undefined> {
    const batch = this.#waiting[this.#head];
    if (!batch) return undefined;
    this.#waiting[this.#head++] = undefined;
    if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    return {
      batch,
      done() {},
      later: () => {
        this.#waiting.push(batch);
        this.#listener?.ready();
      },
    };
  }

  async close(): Promise<QueueLoad> {
    let lost = emptyLoad;
    for (const batch of this.#waiting.slice(this.#head)) if (batch) lost = addLoad(lost, batch);
    this.#waiting = [];
    this.#head = 0;
    return lost;
  }
}
