/** A file for numbers that are too many to hold. It has no name, so nothing is left behind however the process ends. */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Problem, reasonOf } from "../problem.ts";

/** Where a piece of the file lies. */
export interface Segment {
  readonly at: number;
  readonly bytes: number;
}

export class Scratch {
  readonly #folder: string;
  #file: number | undefined;
  #size = 0;

  /** `folder` has the file; by default the system's for temporary files. */
  constructor(folder: string = tmpdir()) {
    this.#folder = folder;
  }

  /** Keeps a copy of `bytes`. @throws Problem when the disk does not take it */
  keep(bytes: Uint8Array): Segment {
    const segment = { at: this.#size, bytes: bytes.byteLength };
    try {
      for (let done = 0; done < bytes.byteLength; )
        done += writeSync(this.#open(), bytes, done, bytes.byteLength - done, this.#size + done);
    } catch (error) {
      throw new Problem(
        `${this.#folder}: no room for a temporary file (${reasonOf(error)}); TMPDIR names another folder`,
      );
    }
    this.#size += bytes.byteLength;
    return segment;
  }

  /** Reads a segment back into `into`, which has its length. */
  read(segment: Segment, into: Uint8Array): void {
    for (let done = 0; done < segment.bytes; ) {
      const read = readSync(this.#open(), into, done, segment.bytes - done, segment.at + done);
      if (read === 0) throw new Problem(`${this.#folder}: a temporary file was cut short`);
      done += read;
    }
  }

  /** Bytes kept. */
  get size(): number {
    return this.#size;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #open(): number {
    if (this.#file === undefined) {
      const own = mkdtempSync(join(this.#folder, "omnishim-"));
      this.#file = openSync(join(own, "numbers"), "w+", 0o600);
      rmSync(own, { recursive: true });
    }
    return this.#file;
  }
}
