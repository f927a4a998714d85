import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock, Timer } from "../../telemetry/clock.ts";
import { type BackupRules, backupName, expiredBackups } from "./backups.ts";

/** What is written where. */
export interface FileWriterOptions {
  readonly path: string;
  /** Keep what is in the file. */
  readonly append: boolean;
  /** Make missing folders. */
  readonly createDirectory: boolean;
  /** How long written data may stay with the system before it is forced to the disk. */
  readonly syncEveryMs: number;
  /** Undefined: the file grows without end. */
  readonly rotation: (BackupRules & { readonly maxBytes: number }) | undefined;
  readonly clock: Clock;
  /** Told what went wrong beside writing: forcing to disk, removing old files. */
  onTrouble(what: string, error: unknown): void;
  /** fs.open unless given; a test puts a failing disk here. */
  readonly openFile?: typeof open;
}

interface Pending {
  readonly bytes: Uint8Array;
  written(): void;
  failed(error: unknown): void;
}

/**
 * Appends records to a file. What comes while a write is under way is written together afterwards, so the number of
 * writes follows the disk. A record is either whole in the file or not at all: a write that fails is cut off again.
 */
export class FileWriter {
  readonly #options: FileWriterOptions;
  readonly #openFile: typeof open;
  #handle: FileHandle | undefined;
  /** Only regular files are cut, forced to disk and rotated; a pipe or /dev/stdout is written to, no more. */
  #isRegular = true;
  /** Bytes in whole records. */
  #size = 0;
  #pending: Pending[] = [];
  #writing: Promise<void> | undefined;
  #syncTimer: Timer | undefined;

  constructor(options: FileWriterOptions) {
    this.#options = options;
    this.#openFile = options.openFile ?? open;
  }

  /** @throws Error that names path, problem and what to do */
  async open(): Promise<void> {
    const { path, append, rotation, createDirectory } = this.#options;
    if (createDirectory) await mkdir(dirname(path), { recursive: true });
    try {
      // With rotation an existing file is continued, as lumberjack does it.
      this.#handle = await this.#openFile(path, openFlags(!append && !rotation), 0o644);
    } catch (error) {
      throw await this.#openError(error);
    }
    const stats = await this.#handle.stat();
    this.#isRegular = stats.isFile();
    this.#size = stats.size;
  }

  /** Resolves when the system has the record. Concurrent records keep their order. @throws the system's error */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((written, failed) => {
      this.#pending.push({ bytes, written, failed });
      this.#writing ??= this.#drain();
    });
  }

  /** Writes what is pending, forces it to disk and closes. Idempotent. */
  async close(): Promise<void> {
    await this.#writing;
    this.#syncTimer?.cancel();
    this.#syncTimer = undefined;
    const handle = this.#handle;
    this.#handle = undefined;
    if (!handle) return;
    try {
      await this.#sync(handle);
    } finally {
      await handle.close();
    }
  }

  async #drain(): Promise<void> {
    while (this.#pending.length > 0) {
      const group = this.#pending;
      this.#pending = [];
      try {
        await this.#append(Buffer.concat(group.map(({ bytes }) => bytes)));
        for (const { written } of group) written();
      } catch (error) {
        for (const { failed } of group) failed(error);
      }
    }
    // In the same turn as the look at what is pending: whoever comes after it must begin anew.
    this.#writing = undefined;
  }

  async #append(bytes: Buffer): Promise<void> {
    const { rotation } = this.#options;
    if (!this.#handle) throw new Error("the file is not open");
    if (rotation && this.#isRegular && this.#size > 0 && this.#size + bytes.length > rotation.maxBytes)
      await this.#rotate(rotation);
    const handle = this.#handle;
    try {
      await handle.appendFile(bytes);
    } catch (error) {
      if (this.#isRegular) await handle.truncate(this.#size).catch(() => {});
      throw error;
    }
    this.#size += bytes.length;
    if (!this.#isRegular) return;
    this.#syncTimer ??= this.#options.clock.after(this.#options.syncEveryMs, () => {
      this.#syncTimer = undefined;
      void this.#sync(handle);
    });
  }

  async #sync(handle: FileHandle): Promise<void> {
    if (!this.#isRegular) return;
    try {
      await handle.datasync();
    } catch (error) {
      // A handle that rotation has closed meanwhile was forced to disk then.
      if ((error as NodeJS.ErrnoException).code !== "EBADF") this.#options.onTrouble("cannot force to disk", error);
    }
  }

  /** @throws when the file cannot be renamed or made anew; then the old one goes on being written */
  async #rotate(rotation: BackupRules): Promise<void> {
    const { path, clock } = this.#options;
    const backup = await freeName(path, clock.now(), rotation.localTime);
    // When somebody has taken the file away there is nothing to keep; a new one is made all the same.
    const isRenamed = await rename(path, backup).then(
      () => true,
      (error: NodeJS.ErrnoException) => (error.code === "ENOENT" ? false : Promise.reject(error)),
    );
    const old = this.#handle;
    try {
      this.#handle = await this.#openFile(path, openFlags(true), 0o644);
    } catch (error) {
      if (isRenamed) await rename(backup, path);
      throw error;
    }
    this.#size = 0;
    if (old) {
      await this.#sync(old);
      await old.close();
    }
    try {
      const folder = dirname(path);
      for (const name of expiredBackups(path, await readdir(folder), rotation, clock.now()))
        await unlink(join(folder, name));
    } catch (error) {
      this.#options.onTrouble("cannot remove old files", error);
    }
  }

  async #openError(error: unknown): Promise<Error> {
    const { path } = this.#options;
    const folder = dirname(path);
    const { code, message } = error as NodeJS.ErrnoException;
    const isFolderMissing = code === "ENOENT" && !(await stat(folder).catch(() => undefined));
    const advice = isFolderMissing
      ? `the folder ${folder} does not exist; make it, or set create_directory: true`
      : code === "EACCES"
        ? "give the process the right to write there, or change path"
        : "change path";
    return new Error(`open ${path}: ${message}; ${advice}`, { cause: error });
  }
}

function openFlags(truncate: boolean): number {
  return constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | (truncate ? constants.O_TRUNC : 0);
}

/** Two rotations within a millisecond must not overwrite each other. */
async function freeName(path: string, unixMs: number, localTime: boolean): Promise<string> {
  for (let at = unixMs; ; at++) {
    const candidate = join(dirname(path), backupName(path, at, localTime));
    if (!(await stat(candidate).catch(() => undefined))) return candidate;
  }
}
