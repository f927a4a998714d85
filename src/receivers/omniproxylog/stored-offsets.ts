import type { StateMap } from "../../kernel/storage.ts";
import { type Clock, sleep } from "../../telemetry/clock.ts";
import type { Checkpoint, OffsetStore } from "./offsets.ts";

/** Between two tries to write. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;

/** What stored offsets need. */
export interface StoredOffsetsDeps {
  readonly clock: Clock;
  /** From then on nothing is tried again. */
  readonly stopped: AbortSignal;
  /** Opens the map; called once, by `load`. @throws Error that ends the start */
  open(): Promise<StateMap>;
  /** Writing failed and is tried again; said by whoever reads it, at most now and then. */
  onFailure(error: unknown): void;
}

/** As it stands in the map, under "device:inode". */
interface Stored {
  readonly path: string;
  readonly offset: number;
  /** base64 */
  readonly head: string;
}

/** Keeps checkpoints in a storage extension. A checkpoint that cannot be written holds up the reading of its file. */
export class StoredOffsets implements OffsetStore {
  readonly #deps: StoredOffsetsDeps;
  #map: StateMap | undefined;
  /** What is being written: a try that comes late writes what is known then. */
  readonly #latest = new Map<string, { value: Uint8Array | undefined; writers: number }>();

  constructor(deps: StoredOffsetsDeps) {
    this.#deps = deps;
  }

  async load(): Promise<readonly Checkpoint[]> {
    this.#map = await this.#deps.open();
    return [...this.#map.entries].flatMap(([key, value]) => parse(key, value) ?? []);
  }

  save({ device, inode, head, path, offset }: Checkpoint): Promise<void> {
    const stored: Stored = { path, offset, head: Buffer.from(head).toString("base64") };
    return this.#set(`${device}:${inode}`, Buffer.from(JSON.stringify(stored)));
  }

  forget({ device, inode }: Pick<Checkpoint, "device" | "inode">): Promise<void> {
    return this.#set(`${device}:${inode}`, undefined);
  }

  async close(): Promise<void> {
    await this.#map?.close();
  }

  async #set(key: string, value: Uint8Array | undefined): Promise<void> {
    const { clock, stopped, onFailure } = this.#deps;
    const latest = this.#latest.get(key) ?? { value, writers: 0 };
    latest.value = value;
    latest.writers++;
    this.#latest.set(key, latest);
    try {
      for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
        try {
          return await this.#map?.set(key, latest.value);
        } catch (error) {
          // What is not written is read again after the restart.
          if (stopped.aborted) return;
          onFailure(error);
        }
        await sleep(clock, pause, stopped).catch(() => {});
      }
    } finally {
      latest.writers--;
      if (latest.writers === 0) this.#latest.delete(key);
    }
  }
}

/** Undefined for what no version of this file has written. */
function parse(key: string, value: Uint8Array): Checkpoint | undefined {
  const [, device, inode] = /^(\d+):(\d+)$/.exec(key) ?? [];
  if (device === undefined || inode === undefined) return undefined;
  try {
    const { path, offset, head } = JSON.parse(Buffer.from(value).toString()) as Partial<Stored>;
    if (typeof path !== "string" || typeof head !== "string" || !Number.isSafeInteger(offset)) return undefined;
    return {
      device: BigInt(device),
      inode: BigInt(inode),
      path,
      offset: offset as number,
      head: Buffer.from(head, "base64"),
    };
  } catch {
    return undefined;
  }
}
