/** The file system as the receiver sees it: few calls, plain facts. Everything else in this folder is blind to node:fs. */
import { open, readdir, stat } from "node:fs/promises";

/** What is known of a file at one moment. */
export interface FileFacts {
  /** Device and inode: which file it is, whatever its name. */
  readonly device: bigint;
  readonly inode: bigint;
  readonly size: number;
  /** Time of the last write, unix nanoseconds. */
  readonly modified: bigint;
  /** Names that lead to it; 0 when it was deleted and is only held open. */
  readonly links: number;
  /** False for folders, pipes, sockets and devices, which are not read. */
  readonly isFile: boolean;
}

/** A file that is open for reading. It stays the same file when its name is given to another. */
export interface OpenFile {
  facts(): Promise<FileFacts>;
  /** Reads `length` bytes from `position` into `into` from `at` on; gives fewer only at the end of the file. */
  read(into: Uint8Array, at: number, length: number, position: number): Promise<number>;
  close(): Promise<void>;
}

/** A name in a folder. `kind` "other" may be a symbolic link, so it may lead to a file or a folder. */
export interface FolderEntry {
  readonly name: string;
  readonly kind: "file" | "folder" | "other";
}

export interface FileAccess {
  /** Follows symbolic links; undefined when nothing is there. @throws NodeJS.ErrnoException */
  facts(path: string): Promise<FileFacts | undefined>;
  /** Empty when the folder is not there or not a folder. @throws NodeJS.ErrnoException */
  list(folder: string): Promise<readonly FolderEntry[]>;
  /** Undefined when nothing is there. @throws NodeJS.ErrnoException */
  open(path: string): Promise<OpenFile | undefined>;
}

/** Codes that mean "nothing there", which is no error for a file that may come later. */
const ABSENT = new Set(["ENOENT", "ENOTDIR"]);

async function unlessAbsent<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (ABSENT.has((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

/** The machine's own files. */
export const nodeFiles: FileAccess = {
  async facts(path) {
    const found = await unlessAbsent(stat(path, { bigint: true }));
    return found && toFacts(found);
  },
  async list(folder) {
    const entries = (await unlessAbsent(readdir(folder, { withFileTypes: true }))) ?? [];
    return entries.map((entry) => ({
      name: entry.name,
      kind: entry.isFile() ? "file" : entry.isDirectory() ? "folder" : "other",
    }));
  },
  async open(path) {
    const handle = await unlessAbsent(open(path, "r"));
    return (
      handle && {
        facts: async () => toFacts(await handle.stat({ bigint: true })),
        async read(into, at, length, position) {
          let done = 0;
          while (done < length) {
            const { bytesRead } = await handle.read(into, at + done, length - done, position + done);
            if (bytesRead === 0) break;
            done += bytesRead;
          }
          return done;
        },
        close: () => handle.close(),
      }
    );
  },
};

function toFacts(found: {
  dev: bigint;
  ino: bigint;
  size: bigint;
  mtimeNs: bigint;
  nlink: bigint;
  isFile(): boolean;
}): FileFacts {
  return {
    device: found.dev,
    inode: found.ino,
    size: Number(found.size),
    modified: found.mtimeNs,
    links: Number(found.nlink),
    isFile: found.isFile(),
  };
}
