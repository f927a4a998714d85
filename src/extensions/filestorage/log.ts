import { randomBytes } from "node:crypto";
import { ConsumeError } from "../../kernel/errors.ts";
import type { RecordLog, StoredRecord } from "../../kernel/storage.ts";
import type { Folder } from "./files.ts";
import { encodeFrame, FRAME_BYTES, HEADER_BYTES } from "./frame.ts";
import { GroupCommit } from "./group-commit.ts";
import type { StorageParts } from "./parts.ts";
import { recover } from "./recovery.ts";
import { type Entry, Segment, segmentFile } from "./segment.ts";
import { TailFile } from "./tail-file.ts";
import { isOutOfSpace } from "./telemetry.ts";

/** What goes into one write and one fsync at most. */
const GROUP_BYTES = 8 * 1024 * 1024;
const GROUP_RECORDS = 1024;
/** A record also costs 8 bytes in the done file, one day. */
const RECORD_OVERHEAD = FRAME_BYTES + 8;

/** A record on its way into the log. */
interface Job {
  readonly parts: readonly Uint8Array[];
  readonly tag: number;
  readonly size: number;
  entry: Entry | undefined;
}

/**
 * A client's log: segments, of which the last is written and all are read. A segment goes when all its records are done,
 * whichever was done first, so a record that waits long holds up one segment and not the disk.
 *
 * One writer (`GroupCommit`) does everything that changes files, in turn: groups of records, done files, removals.
 */
export class SegmentLog implements RecordLog {
  readonly left: readonly StoredRecord[];
  readonly #client: string;
  readonly #folder: Folder;
  readonly #parts: StorageParts;
  readonly #writer: GroupCommit<Job>;
  readonly #salt = (): number => randomBytes(4).readUInt32LE();
  #nextNumber: number;
  #current: Segment | undefined;
  #segments: Set<Segment>;
  /** Segments with something to be written down or removed. */
  readonly #untidy = new Set<Segment>();
  /** There was no room for a record: the current segment goes when it is all done. */
  #isSaving = false;
  #closing: Promise<void> | undefined;
  #isClosed = false;

  private constructor(client: string, folder: Folder, parts: StorageParts, found: readonly Segment[], left: Entry[]) {
    this.#client = client;
    this.#folder = folder;
    this.#parts = parts;
    this.left = left;
    this.#segments = new Set(found);
    this.#nextNumber = 1 + Math.max(0, ...found.map((segment) => segment.name.number));
    this.#writer = new GroupCommit<Job>(
      { bytes: GROUP_BYTES, jobs: GROUP_RECORDS, sizeOf: (job) => job.size },
      (jobs) => this.#commit(jobs),
      () => this.#tidy(),
    );
    parts.savers.add(this.#save);
  }

  /** Reads what earlier runs left. @throws Error when the files are of another format */
  static async open(client: string, folder: Folder, parts: StorageParts): Promise<SegmentLog> {
    const { segments, left } = await recover(client, folder, parts);
    const log = new SegmentLog(client, folder, parts, segments, left);
    for (const segment of segments) if (segment.live === 0) log.#untidy.add(segment);
    if (log.#untidy.size > 0) log.#writer.stir();
    return log;
  }

  async append(parts: readonly Uint8Array[], tag: number): Promise<StoredRecord> {
    const { budget, telemetry } = this.#parts;
    if (this.#closing) throw new ConsumeError("retryable", "the storage is closed", { grpcCode: 14 });
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    if (!budget.tryTake(size + RECORD_OVERHEAD)) {
      this.#makeRoom();
      throw telemetry.full();
    }
    const job: Job = { parts, tag, size, entry: undefined };
    try {
      await this.#writer.submit(job);
    } catch (error) {
      budget.give(size + RECORD_OVERHEAD);
      throw error;
    }
    return job.entry as Entry | undefined as Entry;
  }

  async read(record: StoredRecord): Promise<Buffer | undefined> {
    const entry = record as Entry;
    const payload = await entry.segment.read(entry);
    if (payload === undefined)
      this.#parts.telemetry.damaged(this.#client, `${this.#folder.path}/${entry.segment.file}`, entry.size, undefined);
    return payload;
  }

  done(record: StoredRecord): void {
    const entry = record as Entry;
    if (entry.isDone) return;
    entry.isDone = true;
    const { segment } = entry;
    segment.live--;
    segment.doneWaiting.push(entry.at);
    this.#untidy.add(segment);
    if (!this.#closing) this.#writer.stir();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#parts.savers.delete(this.#save);
    this.#writer.stir();
    await this.#writer.idle();
    for (const segment of this.#segments) {
      if (segment.live === 0) await this.#remove(segment);
      else {
        await segment.close();
        this.#parts.budget.give(segment.budgeted);
      }
    }
    this.#isClosed = true;
  }

  /** Everything is written and closed: the same client may open its place again. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  async #commit(jobs: readonly Job[]): Promise<void> {
    const { clock, telemetry } = this.#parts;
    const began = clock.monotonic();
    try {
      const segment = await this.#writable();
      let at = segment.end;
      const frames: { at: number; size: number; tag: number }[] = [];
      const chunks: Uint8Array[] = [];
      for (const { parts, tag, size } of jobs) {
        chunks.push(encodeFrame(segment.name.salt, parts, tag), ...parts);
        frames.push({ at, size, tag });
        at += FRAME_BYTES + size;
      }
      await segment.append(chunks);
      jobs.forEach((job, index) => {
        job.entry = segment.add(frames[index] as (typeof frames)[number]);
        segment.budgeted += job.size + RECORD_OVERHEAD;
      });
    } catch (error) {
      const current = this.#current;
      // What is sealed goes as soon as its records are done; what is written on may never be all done.
      if (current?.isBroken || (current && isOutOfSpace(error) && current.end >= this.#parts.segmentBytes / 16))
        await this.#seal(current);
      if (isOutOfSpace(error)) this.#makeRoom();
      throw telemetry.failed(error, this.#folder.path, jobs.length);
    }
    telemetry.committed((clock.monotonic() - began) / 1000);
  }

  #makeRoom(): void {
    for (const save of this.#parts.savers) save();
  }

  /** A segment that is only kept to be written on may hold nothing but what is done. */
  readonly #save = (): void => {
    const current = this.#current;
    if (current?.live !== 0 || current.count === 0 || this.#closing) return;
    this.#isSaving = true;
    this.#untidy.add(current);
    this.#writer.stir();
  };

  async #writable(): Promise<Segment> {
    const { segmentBytes, fsync, budget } = this.#parts;
    if (this.#current && this.#current.end >= segmentBytes) await this.#seal(this.#current);
    if (this.#current) return this.#current;
    const name = { number: this.#nextNumber++, salt: this.#salt() };
    const tail = await TailFile.create(this.#folder, segmentFile(name), fsync);
    const segment = new Segment(this.#folder, name, tail);
    segment.budgeted = HEADER_BYTES;
    budget.take(HEADER_BYTES);
    this.#segments.add(segment);
    this.#current = segment;
    return segment;
  }

  async #seal(segment: Segment): Promise<void> {
    if (this.#current === segment) this.#current = undefined;
    if (segment.live === 0) this.#untidy.add(segment);
    await segment.seal().catch(() => {});
  }

  /** Removes what is all done, and writes down what else is done. What fails only costs disk or makes records come again. */
  async #tidy(): Promise<void> {
    for (const segment of this.#untidy) {
      this.#untidy.delete(segment);
      if (segment.live === 0 && segment === this.#current && this.#isWorthFreeing(segment)) await this.#seal(segment);
      if (segment.live === 0 && segment.isSealed) await this.#remove(segment);
      else await segment.writeDone().catch(() => {});
    }
    this.#isSaving = false;
  }

  /** Whether to give the disk back what the current segment takes although it could be written on. */
  #isWorthFreeing(segment: Segment): boolean {
    const { segmentBytes, budget } = this.#parts;
    return this.#isSaving || segment.end >= segmentBytes / 4 || budget.used > budget.capacity / 2;
  }

  async #remove(segment: Segment): Promise<void> {
    if (!this.#segments.delete(segment)) return;
    try {
      await segment.remove();
    } catch (error) {
      this.#parts.telemetry.warn(
        "A file of the storage that is needed no more cannot be removed; it is tried again at the next start",
        {
          file: `${this.#folder.path}/${segment.file}`,
          error,
        },
      );
    }
    this.#parts.budget.give(segment.budgeted);
  }
}
