import { access, constants, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { ComponentId } from "../kernel/api.ts";
import { folderName } from "../kernel/folder-name.ts";
import { formatId } from "../kernel/id.ts";
import { concatBatches } from "../pdata/concat.ts";
import type { Clock } from "../telemetry/clock.ts";
import type { FailedPart } from "./divide.ts";
import type { DeadLetterConfig } from "./refused-config.ts";
import type { AnyBatch } from "./sender.ts";

const MIB = 1024 * 1024;
/** What a file takes at least: it bounds the number of files too. */
const BLOCK = 4096;
/** A folder that was full is looked at again after this: somebody may have emptied it. */
const LOOK_AGAIN_MS = 10_000;
/** Different answers of the destination that are written down beside a request. */
const MOST_REASONS = 10;
const UNFINISHED = ".tmp";

/** Writes a file and forces it to the disk. A test puts a failing disk here. */
export type WriteFile = (path: string, bytes: Uint8Array) => Promise<void>;

/** Where a dead letter lies. */
export interface DeadLetter {
  readonly file: string;
  readonly items: number;
}

/**
 * Keeps what a destination refused for good in a folder of the exporter's own: one encoded export request a file (`.pb`),
 * which can be sent again as it is, and beside it what the destination said (`.json`). Files that are there are never
 * removed or changed; when they reach `max_size_mib`, nothing more is kept.
 */
export class DeadLetterFolder {
  readonly #id: ComponentId;
  readonly #limit: number;
  readonly #clock: Clock;
  readonly #write: WriteFile;
  #used = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #count = 0;
  #turn: Promise<unknown> = Promise.resolve();
  /** The folder. */
  readonly path: string;

  constructor(config: DeadLetterConfig, id: ComponentId, clock: Clock, write: WriteFile = writeSynced) {
    this.#id = id;
    this.#limit = config.max_size_mib * MIB;
    this.#clock = clock;
    this.#write = write;
    this.path = join(resolve(config.directory), folderName("exporter", id.type, ...(id.name === "" ? [] : [id.name])));
  }

  /** Makes the folder, for this user alone: spans say what people asked. @throws Error that says what to do */
  async open(): Promise<void> {
    try {
      await mkdir(this.path, { recursive: true, mode: 0o700 });
      await access(this.path, constants.W_OK | constants.X_OK | constants.R_OK);
      for (const name of await readdir(this.path))
        if (name.endsWith(UNFINISHED)) await rm(join(this.path, name), { force: true });
      await this.#look();
    } catch (error) {
      throw new Error(
        `dead_letter::directory: ${this.path} cannot be used (${messageOf(error)}): make it writable for the user that this program runs as, or name another one`,
        { cause: error },
      );
    }
  }

  /**
   * Resolves when these parts of one signal are on the disk, as one request.
   * @throws Error when they could not be kept; then nothing of them was
   */
  keep(failed: readonly [FailedPart, ...FailedPart[]]): Promise<DeadLetter> {
    const work = this.#turn.then(() => this.#keep(failed));
    this.#turn = work.catch(() => {});
    return work;
  }

  async #keep(failed: readonly [FailedPart, ...FailedPart[]]): Promise<DeadLetter> {
    const [first, ...rest] = failed.map(({ part }) => part) as [AnyBatch, ...AnyBatch[]];
    const batch = concatBatches([first, ...rest]);
    const note = Buffer.from(`${JSON.stringify(this.#note(batch, failed))}\n`);
    const size = onDisk(batch.bytes.length) + onDisk(note.length);
    await this.#room(size);
    const file = join(this.path, this.#name(batch));
    const names = [`${file}.json`, `${file}.pb`] as const;
    try {
      await this.#write(names[0] + UNFINISHED, note);
      await this.#write(names[1] + UNFINISHED, batch.bytes);
      for (const name of names) await rename(name + UNFINISHED, name);
      await syncFolder(this.path);
    } catch (error) {
      for (const name of names) {
        await rm(name + UNFINISHED, { force: true }).catch(() => {});
        await rm(name, { force: true }).catch(() => {});
      }
      throw error;
    }
    this.#used += size;
    return { file: names[1], items: batch.items };
  }

  async #room(size: number): Promise<void> {
    if (this.#used + size <= this.#limit) return;
    const now = this.#clock.monotonic();
    if (now - this.#lookedAt >= LOOK_AGAIN_MS) await this.#look();
    if (this.#used + size > this.#limit)
      throw new Error(
        `${this.path} holds ${Math.ceil(this.#used / MIB)} of ${this.#limit / MIB} MiB (setting: dead_letter::max_size_mib); send again or remove what is in it`,
      );
  }

  async #look(): Promise<void> {
    this.#lookedAt = this.#clock.monotonic();
    let used = 0;
    for (const name of await readdir(this.path))
      used += onDisk((await stat(join(this.path, name)).catch(() => undefined))?.size ?? 0);
    this.#used = used;
  }

  /** "traces-2026-11-22T22-05-46.123Z-4711-1": no two processes make the same one. */
  #name({ signal }: AnyBatch): string {
    const time = new Date(this.#clock.now()).toISOString().replaceAll(":", "-");
    return `${signal}-${time}-${process.pid}-${++this.#count}`;
  }

  #note({ signal, items }: AnyBatch, failed: readonly FailedPart[]): object {
    const reasons = new Map<string, { grpc_code: number | undefined; items: number }>();
    for (const { failure, part } of failed) {
      const known = reasons.get(failure.message);
      if (known) known.items += part.items;
      else if (reasons.size < MOST_REASONS)
        reasons.set(failure.message, { grpc_code: failure.grpcCode, items: part.items });
    }
    return {
      time: new Date(this.#clock.now()).toISOString(),
      exporter: formatId(this.#id),
      signal,
      items,
      refused: [...reasons].map(([message, rest]) => ({ message, ...rest })),
    };
  }
}

function onDisk(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / BLOCK)) * BLOCK;
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, "wx", 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
