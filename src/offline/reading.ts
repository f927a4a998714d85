/** How reading goes on: what is told while it does, and what is told afterwards. */
import type { ReaderNotes } from "./files/line-reader.ts";

/** Shows how far a command is; does nothing where nobody watches. */
export interface Progress {
  /** `done` of `total` bytes are read. */
  show(done: number, total: number): void;
  /** Takes the display away. */
  clear(): void;
}

export const NO_PROGRESS: Progress = { show: () => undefined, clear: () => undefined };

/** A file that was not read, or not whole. */
export interface FileNote {
  readonly path: string;
  readonly reason: string;
}

/** Notes beyond this are counted only. */
const MOST_NOTES = 100;

/** Gathers what readers note. */
export class ReadingNotes implements ReaderNotes {
  readonly files: FileNote[] = [];
  /** Notes that are not in `files`. */
  unlisted = 0;
  cutLines = 0;
  bytes = 0;
  readonly #total: number;
  readonly #progress: Progress;

  constructor(total: number, progress: Progress) {
    this.#total = total;
    this.#progress = progress;
  }

  damaged(path: string, reason: string): void {
    if (this.files.length < MOST_NOTES) this.files.push({ path, reason });
    else this.unlisted++;
  }

  cut(): void {
    this.cutLines++;
  }

  read(bytes: number): void {
    this.bytes += bytes;
    this.#progress.show(this.bytes, this.#total);
  }
}
