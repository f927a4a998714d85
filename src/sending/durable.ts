import type { RecordLog, StoredRecord } from "../kernel/storage.ts";
import type { Signal } from "../pdata/payload.ts";
import type { Clock, Timer } from "../telemetry/clock.ts";
import type { AnyBatch } from "./sender.ts";
import { emptyLoad, type QueueEntry, type QueueLoad, type QueueStorage, type StorageListener } from "./storage.ts";

/** Batches that wait are also kept in memory up to this, so that a peer that keeps up costs no reading. */
const CACHE_BYTES = 16 * 1024 * 1024;
/** After a read that failed. */
const READ_AGAIN_MS = 1000;

/** What durable storage needs. */
export interface DurableDeps {
  readonly signal: Signal;
  readonly clock: Clock;
  /** Opens the log; called once, by `open`. */
  openLog(): Promise<RecordLog>;
  /** Reading failed and is tried again. */
  onReadError(error: unknown): void;
}

/** A record that waits; with its batch as long as the cache has room. */
interface Waiting {
  readonly record: StoredRecord;
  readonly batch: AnyBatch | undefined;
}

/**
 * Keeps batches in a log on the disk, of which a record's payload is the batch's bytes and its tag the number of items.
 * What was `put` comes again after a crash until it was `done`; it may come again although it was.
 */
export class DurableStorage implements QueueStorage {
  readonly isDurable = true;
  readonly #deps: DurableDeps;
  #log: RecordLog | undefined;
  #listener: StorageListener | undefined;
  #waiting: (Waiting | undefined)[] = [];
  #head = 0;
  #cachedBytes = 0;
  #load: QueueLoad = emptyLoad;
  readonly #timers = new Set<Timer>();

  constructor(deps: DurableDeps) {
    this.#deps = deps;
  }

  async open(listener: StorageListener): Promise<QueueLoad> {
    this.#listener = listener;
    this.#log = await this.#deps.openLog();
    for (const record of this.#log.left) {
      this.#waiting.push({ record, batch: undefined });
      this.#count(record, 1);
    }
    return this.#load;
  }

  async put(batch: AnyBatch): Promise<void> {
    const record = await this.#opened.append([batch.bytes], batch.items);
    const isCached = this.#cachedBytes + batch.bytes.length <= CACHE_BYTES;
    if (isCached) this.#cachedBytes += batch.bytes.length;
    this.#waiting.push({ record, batch: isCached ? batch : undefined });
    this.#count(record, 1);
  }

  async take(): Promise<QueueEntry | undefined> {
    for (;;) {
      const next = this.#shift();
      if (!next) return undefined;
      const batch = next.batch ?? (await this.#read(next));
      if (batch) return this.#entry(next.record, batch);
    }
  }

  async close(): Promise<QueueLoad> {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    await this.#log?.close();
    this.#waiting = [];
    return this.#load;
  }

  get #opened(): RecordLog {
    if (!this.#log) throw new Error("the queue is not started");
    return this.#log;
  }

  #shift(): Waiting | undefined {
    const next = this.#waiting[this.#head];
    if (!next) return undefined;
    this.#waiting[this.#head++] = undefined;
    if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    if (next.batch) this.#cachedBytes -= next.batch.bytes.length;
    return next;
  }

  async #read(next: Waiting): Promise<AnyBatch | undefined> {
    const { record } = next;
    let bytes: Buffer | undefined;
    try {
      bytes = await this.#opened.read(record);
    } catch (error) {
      this.#deps.onReadError(error);
      this.#again(record, READ_AGAIN_MS);
      return undefined;
    }
    if (bytes) return { signal: this.#deps.signal, bytes, items: record.tag };
    this.#done(record);
    this.#listener?.lost({ requests: 1, items: record.tag, bytes: record.size });
    return undefined;
  }

  #entry(record: StoredRecord, batch: AnyBatch): QueueEntry {
    return { batch, done: () => this.#done(record), later: (ms) => this.#again(record, ms) };
  }

  #done(record: StoredRecord): void {
    this.#opened.done(record);
    this.#count(record, -1);
  }

  #again(record: StoredRecord, ms: number): void {
    const timer = this.#deps.clock.after(ms, () => {
      this.#timers.delete(timer);
      this.#waiting.push({ record, batch: undefined });
      this.#listener?.ready();
    });
    this.#timers.add(timer);
  }

  #count(record: StoredRecord, sign: 1 | -1): void {
    const { requests, items, bytes } = this.#load;
    this.#load = {
      requests: requests + sign,
      items: items + sign * record.tag,
      bytes: bytes + sign * record.size,
    };
  }
}
