/** A file that only grows, by whole writes: after a failure it ends where it ended before. */
import type { DataFile, Folder } from "./files.ts";
import { encodeHeader, HEADER_BYTES } from "./frame.ts";

/** What a write that failed leaves behind cannot be known, so a file that cannot be cut back is `isBroken` for good. */
export class TailFile {
  readonly #file: DataFile;
  readonly #fsync: boolean;
  #end = HEADER_BYTES;
  #isBroken = false;

  private constructor(file: DataFile, fsync: boolean) {
    this.#file = file;
    this.#fsync = fsync;
  }

  /** A new file with its header, whose name is on the disk when this resolves. */
  static async create(folder: Folder, name: string, fsync: boolean): Promise<TailFile> {
    const file = await folder.create(name);
    try {
      await file.write([encodeHeader()], 0);
      if (fsync) {
        await file.sync();
        await folder.sync();
      }
    } catch (error) {
      await file.close().catch(() => {});
      await folder.remove(name).catch(() => {});
      throw error;
    }
    return new TailFile(file, fsync);
  }

  /** Where the next write begins. */
  get end(): number {
    return this.#end;
  }

  /** Nothing can be written to it any more; what was written before can be read. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Resolves when everything is written, and on the disk if that was asked for. One call at a time. */
  async append(parts: readonly Uint8Array[]): Promise<void> {
    let isWritten = false;
    try {
      await this.#file.write(parts, this.#end);
      isWritten = true;
      if (this.#fsync) await this.#file.sync();
    } catch (error) {
      // After a failed sync the kernel may have dropped pages and say "fine" next time: never write there again.
      this.#isBroken = isWritten;
      await this.#file.truncate(this.#end).catch(() => {
        this.#isBroken = true;
      });
      throw error;
    }
    for (const part of parts) this.#end += part.length;
  }

  read(position: number, length: number): Promise<Buffer> {
    return this.#file.read(position, length);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
