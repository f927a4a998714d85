/** The file system as this extension sees it. Everything else in this folder but the lock is blind to node:fs. */
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";

/** A file that is written at its end and read anywhere. */
export interface DataFile {
  /** Writes all parts one after the other from `position` on. @throws NodeJS.ErrnoException; then any part of it may be written */
  write(parts: readonly Uint8Array[], position: number): Promise<void>;
  /** Reads `length` bytes; fewer only at the end of the file. */
  read(position: number, length: number): Promise<Buffer>;
  /** Cuts it. */
  truncate(length: number): Promise<void>;
  /** Resolves when what was written is on the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** One folder. All names are plain file names in it. */
export interface Folder {
  readonly path: string;
  /** Names of its files with their sizes in bytes. */
  list(): Promise<ReadonlyMap<string, number>>;
  /** Makes a new file. @throws NodeJS.ErrnoException also when it is there */
  create(name: string): Promise<DataFile>;
  /** Opens a file that is there, for reading and writing. */
  open(name: string): Promise<DataFile>;
  /** A whole file; undefined when there is none. */
  read(name: string): Promise<Buffer | undefined>;
  rename(from: string, to: string): Promise<void>;
  /** No error when it is not there. */
  remove(name: string): Promise<void>;
  /** Resolves when the names are on the disk. */
  sync(): Promise<void>;
}

/** What a folder on a disk needs: how it and its files are made. */
export interface FolderOptions {
  /** Permission bits of the folders; files get those without the x bits. */
  readonly permissions: number;
}

/** Makes the folder if it is not there. */
export async function diskFolder(path: string, options: FolderOptions): Promise<Folder> {
  await mkdir(path, { recursive: true, mode: options.permissions });
  const at = (name: string): string => `${path}/${name}`;
  const fileMode = options.permissions & 0o666;
  return {
    path,
    async list() {
      const sizes = new Map<string, number>();
      for (const entry of await readdir(path, { withFileTypes: true })) {
        if (!entry.isFile()) continue;
        const found = await stat(at(entry.name)).catch(ifAbsent(undefined));
        if (found) sizes.set(entry.name, found.size);
      }
      return sizes;
    },
    create: async (name) => new DiskFile(await open(at(name), "wx+", fileMode)),
    open: async (name) => new DiskFile(await open(at(name), "r+")),
    read: (name) => readFile(at(name)).catch(ifAbsent(undefined)),
    rename: (from, to) => rename(at(from), at(to)),
    remove: (name) => rm(at(name), { force: true }),
    async sync() {
      const handle = await open(path, "r");
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    },
  };
}

function ifAbsent<T>(value: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === "ENOENT") return value;
    throw error;
  };
}

class DiskFile implements DataFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async write(parts: readonly Uint8Array[], position: number): Promise<void> {
    let rest = parts.filter((part) => part.length > 0);
    let at = position;
    while (rest.length > 0) {
      let { bytesWritten } = await this.#handle.writev(rest, at);
      at += bytesWritten;
      let whole = 0;
      for (const part of rest) {
        if (bytesWritten < part.length) break;
        bytesWritten -= part.length;
        whole++;
      }
      rest = rest.slice(whole);
      const [first, ...others] = rest;
      if (first && bytesWritten > 0) rest = [first.subarray(bytesWritten), ...others];
    }
  }

  async read(position: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  }

  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length);
  }

  sync(): Promise<void> {
    return this.#handle.datasync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}
