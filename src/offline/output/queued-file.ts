/** A file that is written in the background, in large pieces and in order. */
import { type FileHandle, open } from "node:fs/promises";
import { Problem, reasonOf } from "../problem.ts";

/** What is appended goes to the disk in pieces of about this many bytes. */
const PIECE_BYTES = 1024 * 1024;
/** With more than this waiting for the disk, whoever writes should wait too. */
const MOST_WAITING = 8 * 1024 * 1024;

const NO_BYTES = Buffer.alloc(0);

export class QueuedFile {
  readonly path: string;
  #handle: Promise<FileHandle>;
  #piece = Buffer.allocUnsafe(PIECE_BYTES);
  #filled = 0;
  #waiting = 0;
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;
  /** Bytes appended so far. */
  size = 0;

  /** Creates or empties the file. Failures show in `ready` and `close`. */
  constructor(path: string) {
    this.path = path;
    this.#handle = open(path, "w");
    this.#handle.catch(() => undefined);
  }

  append(data: string | Uint8Array): void {
    const bytes = typeof data === "string" ? Buffer.byteLength(data) : data.byteLength;
    this.size += bytes;
    if (bytes > PIECE_BYTES - this.#filled) this.#flush();
    if (bytes > PIECE_BYTES) {
      this.#push(Buffer.from(data as string));
      return;
    }
    if (typeof data === "string") this.#piece.write(data, this.#filled);
    else this.#piece.set(data, this.#filled);
    this.#filled += bytes;
  }

  /** Undefined while the disk keeps up; else when it does again. @throws Problem (rejects) when it cannot be written */
  ready(): Promise<void> | undefined {
    if (this.#waiting <= MOST_WAITING && this.#failure === undefined) return undefined;
    return this.#settle();
  }

  /** Resolves when everything is written and the file is closed. @throws Problem (rejects) */
  async close(): Promise<void> {
    this.#flush();
    this.#piece = NO_BYTES; // a split output keeps many closed files
    try {
      await this.#settle();
    } finally {
      await this.#handle.then((handle) => handle.close()).catch(() => undefined);
    }
  }

  #flush(): void {
    if (this.#filled === 0) return;
    this.#push(this.#piece.subarray(0, this.#filled));
    this.#piece = Buffer.allocUnsafe(PIECE_BYTES);
    this.#filled = 0;
  }

  #push(bytes: Uint8Array): void {
    this.#waiting += bytes.byteLength;
    this.#writing = this.#writing.then(async () => {
      if (this.#failure !== undefined) return;
      try {
        const handle = await this.#handle;
        for (let done = 0; done < bytes.byteLength; ) done += (await handle.write(bytes, done)).bytesWritten;
      } catch (error) {
        this.#failure = error;
      } finally {
        this.#waiting -= bytes.byteLength;
      }
    });
  }

  async #settle(): Promise<void> {
    await this.#writing;
    const failure =
      this.#failure ??
      (await this.#handle.then(
        () => undefined,
        (error: unknown) => error,
      ));
    if (failure !== undefined) throw new Problem(`${this.path}: cannot be written (${reasonOf(failure)})`);
  }
}
