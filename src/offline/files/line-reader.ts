/** Reads the lines of a chain of files, oldest first, as one log: plain or gzip, in chunks, whatever their size. */
import { reasonOf } from "../problem.ts";
import { type ChunkSource, type DataFile, openChunks } from "./chunk-source.ts";

/** What the reader met and went on from. */
export interface ReaderNotes {
  /** A file could not be read to its end (a gzip file that is still written, a bad disk). */
  damaged(path: string, reason: string): void;
  /** A line was longer than the reader takes; its rest was left out. */
  cut(path: string): void;
  /** Bytes read from disk. */
  read(bytes: number): void;
}

export interface ReaderLimits {
  readonly chunkBytes: number;
  readonly maxLineBytes: number;
}

/**
 * Lines one at a time: `next()` moves to the next line that is in memory, `fill()` gets more of them. The current line is
 * `bytes[from, to)` without its line feed, valid until the next `fill`.
 */
export class LineReader {
  bytes: Buffer;
  from = 0;
  to = 0;
  readonly #files: readonly DataFile[];
  readonly #limits: ReaderLimits;
  readonly #notes: ReaderNotes;
  #file = -1;
  #source: ChunkSource | undefined;
  /** What of `bytes` is read but not handed on yet. */
  #start = 0;
  #end = 0;
  /** Inside a line that was cut: everything up to its line feed is left out. */
  #skipping = false;

  constructor(files: readonly DataFile[], limits: ReaderLimits, notes: ReaderNotes) {
    this.#files = files;
    this.#limits = limits;
    this.#notes = notes;
    this.bytes = Buffer.allocUnsafe(limits.chunkBytes);
  }

  /** The next line in memory; false when there is no whole one. */
  next(): boolean {
    const feed = this.#start < this.#end ? this.bytes.indexOf(10, this.#start) : -1;
    if (feed < 0 || feed >= this.#end) return false;
    this.from = this.#start;
    this.to = feed;
    this.#start = feed + 1;
    return true;
  }

  /** Reads on. False at the end of the last file; a last line without line feed was handed on before. */
  async fill(): Promise<boolean> {
    for (;;) {
      if (this.#makeRoom()) return true;
      const source = this.#source ?? (await this.#nextFile());
      if (!source) return false;
      const read = await this.#readChunk(source);
      if (read > 0) {
        this.#notes.read(source.takeRaw());
        this.#end += read;
        if (this.#skipping) this.#skip();
        return true;
      }
      await source.close();
      this.#source = undefined;
      if (this.#endLine()) return true;
    }
  }

  /** Frees what is open. */
  async close(): Promise<void> {
    await this.#source?.close();
    this.#source = undefined;
    this.#file = this.#files.length;
  }

  async #nextFile(): Promise<ChunkSource | undefined> {
    while (++this.#file < this.#files.length) {
      const file = this.#files[this.#file] as DataFile;
      try {
        this.#source = await openChunks(file);
        return this.#source;
      } catch (error) {
        this.#notes.damaged(file.path, reasonOf(error));
      }
    }
    return undefined;
  }

  async #readChunk(source: ChunkSource): Promise<number> {
    try {
      return await source.read(this.bytes, this.#end);
    } catch (error) {
      this.#notes.damaged(this.#path(), reasonOf(error));
      return 0;
    }
  }

  /** Moves what is left to the front; a line that fills the whole buffer gets a larger one, or is cut: then true. */
  #makeRoom(): boolean {
    if (this.#start > 0) {
      this.bytes.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    if (this.#end < this.bytes.length) return false;
    if (this.bytes.length >= this.#limits.maxLineBytes) {
      this.#notes.cut(this.#path());
      this.bytes[this.#end - 1] = 10; // what was read of the line stays, as a line
      this.#skipping = true;
      return true;
    }
    this.#enlarge(Math.min(this.#limits.maxLineBytes, this.bytes.length * 2));
    return false;
  }

  #enlarge(length: number): void {
    const larger = Buffer.allocUnsafe(length);
    this.bytes.copy(larger, 0, 0, this.#end);
    this.bytes = larger;
  }

  #skip(): void {
    const feed = this.bytes.indexOf(10, this.#start);
    this.#skipping = feed < 0 || feed >= this.#end;
    this.#start = this.#skipping ? this.#end : feed + 1;
  }

  /** Ends a last line that has no line feed. False when there is none. */
  #endLine(): boolean {
    this.#skipping = false;
    if (this.#start === this.#end) return false;
    if (this.#end === this.bytes.length) this.#enlarge(this.#end + 1);
    this.bytes[this.#end++] = 10;
    return true;
  }

  #path(): string {
    return this.#files[this.#file]?.path ?? "";
  }
}
