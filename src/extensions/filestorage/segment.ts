/** One file of a log and the records in it. */
import type { StoredRecord } from "../../kernel/storage.ts";
import type { DataFile, Folder } from "./files.ts";
import { encodeDone, FRAME_BYTES, type Frame, readFrame } from "./frame.ts";
import type { TailFile } from "./tail-file.ts";

const NAME = /^(\d{8,10})-([0-9a-f]{8})\.log$/;

/** What a segment's file name says: its place in the order, and its salt. */
export interface SegmentName {
  readonly number: number;
  readonly salt: number;
}

/** "00000007-89abcdef.log" */
export function segmentFile({ number, salt }: SegmentName): string {
  return `${String(number).padStart(8, "0")}-${salt.toString(16).padStart(8, "0")}.log`;
}

/** Undefined for any other file. */
export function parseSegmentFile(file: string): SegmentName | undefined {
  const [, number, salt] = NAME.exec(file) ?? [];
  return number === undefined || salt === undefined
    ? undefined
    : { number: Number(number), salt: Number.parseInt(salt, 16) };
}

/** The file beside it that says which of its records are done. */
export function doneFile(name: SegmentName): string {
  return segmentFile(name).replace(/log$/, "done");
}

/** A record in its segment. */
export class Entry implements StoredRecord {
  readonly segment: Segment;
  /** Where its frame begins in the file; its name in the done file, which damage elsewhere does not change. */
  readonly at: number;
  readonly size: number;
  readonly tag: number;
  isDone = false;

  constructor(segment: Segment, frame: Frame) {
    this.segment = segment;
    this.at = frame.at;
    this.size = frame.size;
    this.tag = frame.tag;
  }
}

/**
 * Modes: *current* (written; `tail` is open), *sealed* (only read), *gone* (removed). All that changes files is called
 * by the log's one writer, so it never overlaps; `read` may be called at any time before the last record is done.
 */
export class Segment {
  readonly name: SegmentName;
  readonly file: string;
  /** What it counts in the budget. */
  budgeted = 0;
  /** Records in it. */
  count = 0;
  /** Records that are not done. */
  live = 0;
  /** Where records stand that are done, and not yet in the done file. */
  doneWaiting: number[] = [];
  isSealed: boolean;
  readonly #folder: Folder;
  #tail: TailFile | undefined;
  #reader: Promise<DataFile> | undefined;
  #done: DataFile | undefined;
  #doneBytes = 0;

  /**
   * @param tail absent: sealed from the beginning
   * @param doneBytes where its done file goes on
   */
  constructor(folder: Folder, name: SegmentName, tail?: TailFile, doneBytes = 0) {
    this.#folder = folder;
    this.name = name;
    this.file = segmentFile(name);
    this.#tail = tail;
    this.isSealed = tail === undefined;
    this.#doneBytes = doneBytes;
  }

  /** Bytes written so far, header included; 0 when sealed. */
  get end(): number {
    return this.#tail?.end ?? 0;
  }

  get isBroken(): boolean {
    return this.#tail?.isBroken ?? true;
  }

  /** A record that stands at `frame`. */
  add(frame: Frame): Entry {
    this.live++;
    this.count++;
    return new Entry(this, frame);
  }

  async append(parts: readonly Uint8Array[]): Promise<void> {
    if (!this.#tail) throw new Error(`${this.file} is sealed`);
    await this.#tail.append(parts);
  }

  /** The payload, checked; undefined when it is damaged. @throws NodeJS.ErrnoException */
  async read(entry: Entry): Promise<Buffer | undefined> {
    const length = FRAME_BYTES + entry.size;
    this.#reader ??= this.#folder.open(this.file);
    let file: DataFile;
    try {
      file = await this.#reader;
    } catch (error) {
      this.#reader = undefined;
      throw error;
    }
    const bytes = await file.read(entry.at, length);
    return readFrame(bytes, 0, this.name.salt)?.size === entry.size ? bytes.subarray(FRAME_BYTES) : undefined;
  }

  /** Nothing is written to it any more. */
  async seal(): Promise<void> {
    this.isSealed = true;
    const tail = this.#tail;
    this.#tail = undefined;
    await tail?.close();
  }

  /** Writes down what is done. It is not synced: what is lost of it only makes records come again. */
  async writeDone(): Promise<void> {
    const positions = this.doneWaiting.splice(0);
    if (positions.length === 0) return;
    const bytes = encodeDone(this.name.salt, positions);
    const file = doneFile(this.name);
    this.#done ??= await this.#folder.open(file).catch(() => this.#folder.create(file));
    await this.#done.write([bytes], this.#doneBytes);
    this.#doneBytes += bytes.length;
  }

  async close(): Promise<void> {
    const files = [this.#tail, await this.#reader?.catch(() => undefined), this.#done];
    this.#tail = undefined;
    this.#reader = undefined;
    this.#done = undefined;
    for (const file of files) await file?.close();
  }

  /** The log first: a done file without its log is nothing. */
  async remove(): Promise<void> {
    await this.close();
    await this.#folder.remove(this.file);
    await this.#folder.remove(doneFile(this.name));
  }
}
