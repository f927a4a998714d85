/** The files of one host here. */
import { constants } from "node:fs";
import { copyFile, type FileHandle, mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { PART } from "../files/collected.ts";
import type { LocalState, Step } from "./plan.ts";

/** So many bytes in front of the place where a file is continued are fetched again, to see that it is the same file. */
const OVERLAP_BYTES = 4096;

export class Store {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** A name's path. */
  at(name: string): string {
    return join(this.#folder, name);
  }

  /** What is here of a host; `label` names it. */
  async look(label: string): Promise<Map<string, LocalState>> {
    const found = new Map<string, LocalState>();
    const note = async (name: string): Promise<void> => {
      const { size, mtimeMs } = await stat(this.at(name));
      found.set(name, { size, mtime: Math.floor(mtimeMs / 1000) });
    };
    const walk = async (folder: string): Promise<void> => {
      for (const entry of await entriesOf(this.at(folder))) {
        const name = `${folder}/${entry.name}`;
        if (entry.isDirectory()) await walk(name);
        else if (entry.isFile()) await note(name);
      }
    };
    await walk(`logs_${label}`);
    for (const entry of await entriesOf(this.#folder))
      if (entry.isFile() && isOwn(entry.name, label)) await note(entry.name);
    return found;
  }

  /** Makes the part of a file that its base is the beginning of. Before anything is renamed. */
  async prepare({ base, name }: Step): Promise<void> {
    await mkdir(dirname(this.at(name)), { recursive: true });
    if (base !== undefined && base !== name + PART)
      await copyFile(this.at(base), this.at(name + PART), constants.COPYFILE_FICLONE);
  }

  /** Opens the part of a file, to be continued at `offset`. */
  async part(name: string, offset: number): Promise<PartFile> {
    const handle = await open(this.at(name + PART), offset === 0 ? "w+" : "r+");
    try {
      const overlap = Buffer.alloc(Math.min(offset, OVERLAP_BYTES));
      await handle.read(overlap, 0, overlap.length, offset - overlap.length);
      return new PartFile(handle, offset, overlap);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The part is whole: it gets its name, and the time of the file there. */
  async commit(name: string, mtime: number): Promise<void> {
    await utimes(this.at(name + PART), mtime, mtime);
    await rename(this.at(name + PART), this.at(name));
  }

  async rename(from: string, to: string): Promise<void> {
    await rename(this.at(from), this.at(to));
  }

  async remove(name: string): Promise<void> {
    await rm(this.at(name), { force: true });
  }
}

/** How many bytes are fetched again where a file is continued at `offset`. */
export function overlapOf(offset: number): number {
  return Math.min(offset, OVERLAP_BYTES);
}

/** A file that grows. The first bytes that come must be the last that it has. */
export class PartFile {
  readonly #handle: FileHandle;
  readonly #overlap: Buffer;
  #at: number;
  #compared = 0;
  /** False once what came was not what is here. */
  same = true;

  constructor(handle: FileHandle, offset: number, overlap: Buffer) {
    this.#handle = handle;
    this.#at = offset;
    this.#overlap = overlap;
  }

  async take(piece: Buffer): Promise<void> {
    const left = this.#overlap.length - this.#compared;
    const again = piece.subarray(0, left);
    if (again.length > 0) {
      this.same &&= again.equals(this.#overlap.subarray(this.#compared, this.#compared + again.length));
      this.#compared += again.length;
    }
    const rest = piece.subarray(again.length);
    if (!this.same || rest.length === 0) return;
    for (let written = 0; written < rest.length; )
      written += (await this.#handle.write(rest, written, rest.length - written, this.#at + written)).bytesWritten;
    this.#at += rest.length;
  }

  /** `whole`: it is on the disk when this resolves. */
  async close(whole: boolean): Promise<void> {
    try {
      if (whole) await this.#handle.datasync();
    } finally {
      await this.#handle.close();
    }
  }
}

/** nginx_HOST.log and nginx_access_HOST.log with whatever rotation puts behind them. */
function isOwn(file: string, label: string): boolean {
  return [`nginx_${label}.log`, `nginx_access_${label}.log`].some((stem) => file.startsWith(stem));
}

async function entriesOf(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
