/** What an earlier run knew of the files, and where they are now. */
import { dirname } from "node:path";
import type { FileAccess, FileFacts } from "./files.ts";
import { type FileKey, fileKey, isContinued } from "./identity.ts";
import type { Checkpoint, OffsetStore } from "./offsets.ts";
import type { Telemetry } from "./telemetry.ts";

/** How many names of a folder are tried to find where a file was moved to. */
const MOST_NEIGHBOURS = 4096;

/** A file of an earlier run that has another name now. */
export interface Renamed {
  readonly path: string;
  readonly facts: FileFacts;
  readonly checkpoint: Checkpoint;
}

/** Checkpoints, given out once each to the file that they are about. */
export class Resumption {
  readonly #files: FileAccess;
  readonly #headBytes: number;
  readonly #offsets: OffsetStore;
  readonly #telemetry: Telemetry;
  readonly #left = new Map<FileKey, Checkpoint>();
  #isLaterRun = false;

  /** @param headBytes `fingerprint_size` */
  constructor(files: FileAccess, headBytes: number, offsets: OffsetStore, telemetry: Telemetry) {
    this.#files = files;
    this.#headBytes = headBytes;
    this.#offsets = offsets;
    this.#telemetry = telemetry;
  }

  async load(): Promise<void> {
    for (const checkpoint of await this.#offsets.load()) this.#left.set(fileKey(checkpoint), checkpoint);
    this.#isLaterRun = this.#left.size > 0;
  }

  /** Whether an earlier run knew any file. */
  get isLaterRun(): boolean {
    return this.#isLaterRun;
  }

  /** Where an earlier run stopped in this file; undefined when it did not know it, or when the content is not what it was. */
  async checkpointOf(path: string, facts: FileFacts): Promise<Checkpoint | undefined> {
    const checkpoint = this.#candidate(path, facts);
    if (!checkpoint) return undefined;
    const isSameDevice = fileKey(checkpoint) === fileKey(facts);
    try {
      if (!isContinued(checkpoint, facts.size, await this.#readHead(path))) {
        if (isSameDevice) this.#replaced(path, checkpoint);
        return undefined;
      }
    } catch (error) {
      this.#telemetry.unreadable("look", path, error); // reading will compare
    }
    this.#left.delete(fileKey(checkpoint));
    if (isSameDevice) return checkpoint;
    const moved = { ...checkpoint, device: facts.device };
    // Not waited for: a storage that cannot write just now must not hold up the start.
    void this.#offsets.save(moved).then(() => this.#offsets.forget(checkpoint));
    return moved;
  }

  /**
   * Files with a checkpoint that have another name in their folder now, whether or not that is wanted. What is not
   * found is said and forgotten; where the folder cannot be read, it is kept for the next start.
   * @param isKnown whether a file is followed already
   */
  async renamed(isKnown: (key: FileKey) => boolean): Promise<Renamed[]> {
    const folders = new Map<string, Checkpoint[]>();
    for (const checkpoint of this.#left.values()) {
      const folder = dirname(checkpoint.path);
      folders.set(folder, [...(folders.get(folder) ?? []), checkpoint]);
    }
    const found: Renamed[] = [];
    for (const [folder, checkpoints] of folders) {
      try {
        for (const { path, facts } of await neighbours(this.#files, folder)) {
          if (!this.#left.has(fileKey(facts)) || isKnown(fileKey(facts))) continue;
          const checkpoint = await this.checkpointOf(path, facts);
          if (checkpoint) found.push({ path, facts, checkpoint });
        }
      } catch (error) {
        this.#telemetry.unreadable("look", folder, error);
        continue;
      }
      for (const checkpoint of checkpoints) if (this.#left.delete(fileKey(checkpoint))) this.#gone(checkpoint);
    }
    for (const { path, facts, checkpoint } of found)
      this.#telemetry.info("a log file was renamed while nobody looked: reading what is left of it", {
        path: checkpoint.path,
        found: path,
        offset: checkpoint.offset,
        size: facts.size,
      });
    return found;
  }

  /** By device and inode. A device's number may be another one after a reboot or in a new container. */
  #candidate(path: string, facts: FileFacts): Checkpoint | undefined {
    const exact = this.#left.get(fileKey(facts));
    if (exact) return exact;
    for (const checkpoint of this.#left.values())
      if (checkpoint.inode === facts.inode && checkpoint.path === path && checkpoint.head.length > 0) return checkpoint;
    return undefined;
  }

  /** The inode has another content. Its checkpoint is overwritten by the new content's. */
  #replaced(path: string, checkpoint: Checkpoint): void {
    this.#left.delete(fileKey(checkpoint));
    if (path === checkpoint.path) this.#telemetry.truncated(path, checkpoint.offset);
    else this.#sayGone(checkpoint);
  }

  #gone(checkpoint: Checkpoint): void {
    this.#sayGone(checkpoint);
    void this.#offsets.forget(checkpoint);
  }

  #sayGone({ path, offset }: Checkpoint): void {
    this.#telemetry.warn(
      path,
      "a log file that was followed is gone: lines that were written to it since are not read. Keep rotated files as they are for a while (delaycompress)",
      { path, read_until: offset },
    );
  }

  async #readHead(path: string): Promise<Uint8Array> {
    const file = await this.#files.open(path);
    if (!file) return new Uint8Array(0);
    try {
      const head = new Uint8Array(this.#headBytes);
      return head.subarray(0, await file.read(head, 0, head.length, 0));
    } finally {
      await file.close();
    }
  }
}

/** The regular files of a folder. @throws NodeJS.ErrnoException */
export async function neighbours(files: FileAccess, folder: string): Promise<{ path: string; facts: FileFacts }[]> {
  const found: { path: string; facts: FileFacts }[] = [];
  const entries = await files.list(folder);
  for (const entry of entries.slice(0, MOST_NEIGHBOURS)) {
    const path = `${folder === "/" ? "" : folder}/${entry.name}`;
    const facts = entry.kind === "file" ? await files.facts(path) : undefined;
    if (facts) found.push({ path, facts });
  }
  return found;
}
