import { randomBytes } from "node:crypto";
import { ConsumeError } from "../../kernel/errors.ts";
import type { StateMap } from "../../kernel/storage.ts";
import type { Folder } from "./files.ts";
import { decodeHeader, encodeFrame, FORMAT, FRAME_BYTES, HEADER_BYTES, scanFrames } from "./frame.ts";
import { GroupCommit } from "./group-commit.ts";
import type { StorageParts } from "./parts.ts";
import { TailFile } from "./tail-file.ts";

const SET = 0;
const FORGET = 1;
const NAME = /^(\d{8,10})-([0-9a-f]{8})\.map$/;
/** A file that is smaller is not rewritten. */
const LEAST_REWRITE_BYTES = 256 * 1024;

interface Change {
  readonly key: string;
  readonly value: Uint8Array | undefined;
}

/**
 * One file of changes, read from the beginning at start. When it has grown to four times what is worth keeping, what is
 * known is written into a new file under another name, which takes its place in one step; then the old one goes.
 */
export class FileStateMap implements StateMap {
  readonly entries: ReadonlyMap<string, Uint8Array>;
  readonly #entries: Map<string, Uint8Array>;
  readonly #folder: Folder;
  readonly #parts: StorageParts;
  readonly #writer: GroupCommit<Change>;
  #file: { readonly tail: TailFile; readonly name: string; readonly salt: number } | undefined;
  #nextNumber: number;
  /** Files of earlier runs, which the first one that is written replaces. */
  #older: string[];
  #liveBytes = 0;
  #closing: Promise<void> | undefined;
  #isClosed = false;

  private constructor(folder: Folder, parts: StorageParts, entries: Map<string, Uint8Array>, older: string[]) {
    this.#folder = folder;
    this.#parts = parts;
    this.#entries = entries;
    this.entries = entries;
    this.#older = older;
    this.#nextNumber = 1 + Math.max(0, ...older.map((name) => Number.parseInt(name, 10)));
    this.#writer = new GroupCommit<Change>(
      { bytes: 1024 * 1024, jobs: 1024, sizeOf: ({ value }) => value?.length ?? 0 },
      (changes) => this.#commit(changes),
      async () => {},
    );
  }

  /** Reads what is there. @throws Error when it is of another format */
  static async open(client: string, folder: Folder, parts: StorageParts): Promise<FileStateMap> {
    const files = await folder.list();
    for (const name of files.keys()) if (name.endsWith(".tmp")) await folder.remove(name);
    const names = [...files.keys()].filter((name) => NAME.test(name)).sort();
    const newest = names.at(-1);
    const entries = newest === undefined ? new Map() : await readEntries(client, folder, parts, newest);
    return new FileStateMap(folder, parts, entries, names);
  }

  async set(key: string, value: Uint8Array | undefined): Promise<void> {
    if (this.#closing) throw new ConsumeError("retryable", "the storage is closed", { grpcCode: 14 });
    await this.#writer.submit({ key, value });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#writer.idle();
    const file = this.#file;
    this.#file = undefined;
    await file?.tail.close();
    this.#parts.budget.give(this.#liveBytes);
    this.#isClosed = true;
  }

  /** Everything is written and closed: the same client may open its place again. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  async #commit(changes: readonly Change[]): Promise<void> {
    const { telemetry, clock } = this.#parts;
    const began = clock.monotonic();
    const next = new Map(this.#entries);
    for (const change of changes) apply(next, change);
    try {
      if (this.#file === undefined || this.#file.tail.isBroken || this.#isGrown(this.#file.tail))
        await this.#rewrite(next);
      else {
        const { salt } = this.#file;
        await this.#file.tail.append(changes.flatMap((change) => encodeChange(salt, change)));
      }
    } catch (error) {
      throw telemetry.failed(error, this.#folder.path, changes.length);
    }
    for (const change of changes) apply(this.#entries, change);
    telemetry.committed((clock.monotonic() - began) / 1000);
  }

  #isGrown(tail: TailFile): boolean {
    return tail.end > Math.max(LEAST_REWRITE_BYTES, 4 * this.#liveBytes);
  }

  /** A new file that holds `entries`, in place of all others. */
  async #rewrite(entries: ReadonlyMap<string, Uint8Array>): Promise<void> {
    const { fsync, budget } = this.#parts;
    const salt = randomBytes(4).readUInt32LE();
    const name = `${String(this.#nextNumber++).padStart(8, "0")}-${salt.toString(16).padStart(8, "0")}.map`;
    const tail = await TailFile.create(this.#folder, `${name}.tmp`, fsync);
    try {
      await tail.append([...entries].flatMap(([key, value]) => encodeChange(salt, { key, value })));
      await this.#folder.rename(`${name}.tmp`, name);
      if (fsync) await this.#folder.sync();
    } catch (error) {
      await tail.close().catch(() => {});
      await this.#folder.remove(`${name}.tmp`).catch(() => {});
      throw error;
    }
    await this.#file?.tail.close().catch(() => {});
    budget.take(tail.end - this.#liveBytes);
    this.#liveBytes = tail.end;
    this.#file = { tail, name, salt };
    for (const older of this.#older.splice(0)) await this.#folder.remove(older).catch(() => {});
    this.#older.push(name);
  }
}

function apply(entries: Map<string, Uint8Array>, { key, value }: Change): void {
  if (value === undefined) entries.delete(key);
  else entries.set(key, value);
}

/** u32 length of the key | key | value; the tag says whether it is set or forgotten. */
function encodeChange(salt: number, { key, value }: Change): Uint8Array[] {
  const name = Buffer.from(key, "utf8");
  const length = Buffer.alloc(4);
  length.writeUInt32LE(name.length);
  const parts = value === undefined ? [length, name] : [length, name, value];
  return [encodeFrame(salt, parts, value === undefined ? FORGET : SET), ...parts];
}

async function readEntries(
  client: string,
  folder: Folder,
  parts: StorageParts,
  file: string,
): Promise<Map<string, Uint8Array>> {
  const bytes = (await folder.read(file)) ?? Buffer.alloc(0);
  const path = `${folder.path}/${file}`;
  const format = decodeHeader(bytes);
  if (format !== undefined && format !== FORMAT)
    throw new Error(
      `${path} has format ${format}, this program reads format ${FORMAT}: use the version that wrote it, or move the folder away, which forgets what it holds`,
    );
  const salt = Number.parseInt(NAME.exec(file)?.[2] ?? "0", 16);
  const { frames, damaged, end } = scanFrames(bytes, HEADER_BYTES, salt);
  const lost = damaged.reduce((sum, [from, to]) => sum + to - from, 0);
  if (lost > 0) parts.telemetry.damaged(client, path, lost, undefined);
  if (end < bytes.length)
    parts.telemetry.info("Left out what was being written to the storage when the last run stopped", {
      file: path,
      bytes: bytes.length - end,
    });
  const entries = new Map<string, Uint8Array>();
  for (const frame of frames) {
    const at = frame.at + FRAME_BYTES;
    const keyEnd = at + 4 + bytes.readUInt32LE(at);
    const key = bytes.toString("utf8", at + 4, keyEnd);
    apply(entries, { key, value: frame.tag === FORGET ? undefined : bytes.subarray(keyEnd, at + frame.size) });
  }
  return entries;
}
