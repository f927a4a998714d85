import type { RecordLog, StoredRecord } from "../../kernel/storage.ts";
import type { NamedSpan } from "../../omni/merge.ts";
import { type SentMark, SentMarks } from "../../omni/sent-marks.ts";
import {
  decodeMarks,
  decodeSkips,
  decodeSpans,
  encodeMarks,
  encodeSkips,
  encodeSpans,
  LINES,
  LINES_AGAIN,
  SENT,
  SPANS,
} from "./journal-records.ts";

/**
 * Records stay at least this long, process milliseconds: a mark must outlive the lines of its request, and a request's
 * access-log row and last lines may come some seconds after it was sent.
 */
const HOLD_MS = 15_000;

interface Kept {
  readonly position: number;
  readonly record: StoredRecord;
  readonly atMs: number;
}

/** Who gets what an earlier process wrote down. */
export interface Reader {
  sent(marks: SentMarks): void;
  /** `skips`: how many lines of each of its sources came before, in the order in which the batch names the sources. */
  lines(batch: Buffer, position: number, skips: readonly number[]): void;
  span(span: NamedSpan): void;
  /** A record that was written by another version, or not by us: it is left out. */
  unreadable(error: unknown): void;
}

/**
 * The lines and spans of requests that are not sent yet, on the disk: log batches as they came, what is known of the
 * spans that were passed on, and which requests were sent. It is read back from its beginning after a restart, and
 * forgotten up to the first line of the oldest request that is still open.
 */
export class Journal {
  readonly #log: RecordLog;
  readonly #limitBytes: () => number;
  /** What is not forgotten, in order of position from `#first` on. */
  #kept: Kept[] = [];
  #first = 0;
  #bytes = 0;
  #position = 0;

  /** @param limitBytes above this it `isFull`, and may forget what is needed */
  constructor(log: RecordLog, limitBytes: () => number) {
    this.#log = log;
    this.#limitBytes = limitBytes;
  }

  /** Whether it holds as much as it may. */
  get isFull(): boolean {
    return this.#bytes > this.#limitBytes();
  }

  /** Gives what is left of an earlier process, in order. Call it first. */
  async read(reader: Reader, nowMs: number): Promise<void> {
    const marks = new SentMarks();
    for (const record of this.#log.left)
      if (record.tag === SENT)
        for (const mark of decodeMarks((await this.#log.read(record)) ?? Buffer.alloc(0))) marks.add(mark);
    reader.sent(marks);
    for (const record of this.#log.left) {
      const position = this.#keep(record, nowMs);
      if (record.tag === SENT) continue;
      const bytes = await this.#log.read(record);
      if (!bytes) continue;
      try {
        readRecord(record.tag, bytes, position, reader);
      } catch (error) {
        reader.unreadable(error);
      }
    }
  }

  /**
   * Resolves with the place of the batch when it is safe.
   * @param skips as a Reader gets them; empty when no line came before
   * @throws ConsumeError
   */
  async writeLines(batch: Uint8Array, skips: readonly number[], nowMs: number): Promise<number> {
    const isAgain = skips.some((skip) => skip > 0);
    const parts = isAgain ? [encodeSkips(skips), batch] : [batch];
    return this.#keep(await this.#log.append(parts, isAgain ? LINES_AGAIN : LINES), nowMs);
  }

  /** Resolves when it is safe. @throws ConsumeError */
  async writeSpans(spans: readonly NamedSpan[], nowMs: number): Promise<void> {
    this.#keep(await this.#log.append([encodeSpans(spans)], SPANS), nowMs);
  }

  /** Resolves when it is safe. @throws ConsumeError */
  async writeSent(marks: readonly SentMark[], nowMs: number): Promise<void> {
    this.#keep(await this.#log.append([encodeMarks(marks)], SENT), nowMs);
  }

  /**
   * Forgets what stands before `oldest` and is old enough.
   * @param mayLetGo forget, oldest first, what is needed too while it is full
   * @returns how many records were forgotten although they are needed
   */
  forget(oldest: number, nowMs: number, mayLetGo: boolean): number {
    let unprotected = 0;
    for (;;) {
      const next = this.#kept[this.#first];
      if (!next) break;
      const isNeeded = next.position >= oldest || nowMs - next.atMs < HOLD_MS;
      if (isNeeded && !(mayLetGo && this.isFull)) break;
      if (isNeeded) unprotected++;
      this.#log.done(next.record);
      this.#bytes -= next.record.size;
      this.#first++;
    }
    if (this.#first > 1024 && this.#first * 2 > this.#kept.length) {
      this.#kept = this.#kept.slice(this.#first);
      this.#first = 0;
    }
    return unprotected;
  }

  close(): Promise<void> {
    return this.#log.close();
  }

  #keep(record: StoredRecord, atMs: number): number {
    const position = this.#position++;
    this.#kept.push({ position, record, atMs });
    this.#bytes += record.size;
    return position;
  }
}

function readRecord(tag: number, bytes: Buffer, position: number, reader: Reader): void {
  if (tag === SPANS) for (const span of decodeSpans(bytes)) reader.span(span);
  else if (tag === LINES) reader.lines(bytes, position, []);
  else if (tag === LINES_AGAIN) {
    const { skips, batch } = decodeSkips(bytes);
    reader.lines(batch, position, skips);
  } else throw new Error(`a record of an unknown kind, ${tag}`);
}
