/** One file that is followed: which it is, how far it was handed on, and its next lines. */
import type { FileAccess, FileFacts, OpenFile } from "./files.ts";
import { type FileKey, fileKey, hasStart, isContinued } from "./identity.ts";
import { cutLastLines, cutLines, type LineLimits, type Lines } from "./lines.ts";
import type { Checkpoint } from "./offsets.ts";

/** How a tail reads. */
export interface TailLimits extends LineLimits {
  /** `fingerprint_size` */
  readonly headBytes: number;
}

/** What a look into the file gave. */
export type Reading =
  /** Lines to hand on, then to `acknowledge`. `bytes` is valid until the next read. */
  | {
      readonly kind: "lines";
      readonly bytes: Buffer;
      readonly lines: Lines;
      /** Position in the file of `bytes[0]`. */
      readonly position: number;
      /** The first line is what is left of one that was cut. */
      readonly isContinued: boolean;
      readonly goal: FileFacts;
    }
  /** The content is not what it was: reading begins at the start again. `offset` is how far the old content was handed on. */
  | { readonly kind: "restarted"; readonly offset: number }
  /** No whole line is left of what `observe` has seen. */
  | { readonly kind: "drained" };

/** How far back a first read looks at once for the start of a line. */
const BACK_BYTES = 65_536;
const LINE_FEED = 10;

/**
 * Modes: *closed* (known by its facts, no handle) and *open*. `open` leads from the first to the second, `rest` back.
 * All reading goes up to the size that `observe` saw last, so that one pass over a file that grows without pause ends.
 * Between reads nothing is kept but the offset: an unfinished line is read again when there is more of it.
 * `observe` may be called at any time; `open`, `read`, `acknowledge` and `rest` one at a time.
 */
export class Tail {
  readonly key: FileKey;
  readonly device: bigint;
  readonly inode: bigint;
  /** The path under which it was found first. */
  readonly origin: string;
  /** The path that leads to it now; undefined when none of the wanted ones does. */
  path: string | undefined;
  /** When its path was given to another file or went away; undefined while `path` is `origin`. Monotonic milliseconds. */
  leftOriginAt: number | undefined;
  /** When it was found or last changed. Monotonic milliseconds. */
  changedAt: number;
  /** Set when nobody writes to it any more: its unfinished last line is to be handed on. */
  isEnding = false;
  /** Set when that was done. */
  hasEnded = false;
  /** Resolves when a later run would go on with it; before that nothing is read. */
  known: Promise<void> = Promise.resolve();
  /** Set for files that are no logs (compressed ones): they are known and not read. */
  isIgnored = false;

  readonly #limits: TailLimits;
  #seen: FileFacts;
  /** What was seen when last everything had been read. */
  #drained: FileFacts | undefined;
  #offset: number;
  #head: Buffer;
  #file: OpenFile | undefined;
  /** True until the offset, which is where the file ended at start-up, was moved back to the start of a line. */
  #isUnaligned: boolean;

  /** @param start "end" begins with the line that is unfinished now; a checkpoint goes on where it says */
  constructor(
    path: string,
    facts: FileFacts,
    start: "beginning" | "end" | Checkpoint,
    limits: TailLimits,
    nowMs: number,
  ) {
    this.key = fileKey(facts);
    this.device = facts.device;
    this.inode = facts.inode;
    this.path = path;
    this.changedAt = nowMs;
    this.#limits = limits;
    this.#seen = facts;
    this.#isUnaligned = start === "end";
    if (typeof start === "string") {
      this.origin = path;
      this.#offset = start === "end" ? facts.size : 0;
      this.#head = Buffer.alloc(0);
    } else {
      this.origin = start.path;
      this.#offset = start.offset;
      this.#head = Buffer.from(start.head);
    }
  }

  /** The first byte that was not handed on. */
  get offset(): number {
    return this.#offset;
  }

  /** When it was written last, as far as was seen; unix nanoseconds. */
  get modified(): bigint {
    return this.#seen.modified;
  }

  get isOpen(): boolean {
    return this.#file !== undefined;
  }

  /** Whether it changed since everything was read. */
  get isReady(): boolean {
    return !this.isIgnored && !isSame(this.#drained, this.#seen);
  }

  /** Bytes seen and not handed on. */
  get lagBytes(): number {
    return this.isIgnored ? 0 : Math.max(0, this.#seen.size - this.#offset);
  }

  /** Whether it was deleted and is only held open. */
  get isDeleted(): boolean {
    return this.#seen.links === 0;
  }

  get checkpoint(): Checkpoint {
    return { device: this.device, inode: this.inode, head: this.#head, path: this.origin, offset: this.#offset };
  }

  /** Takes note of what is known of the file now. */
  observe(facts: FileFacts, nowMs: number): void {
    if (!isSame(facts, this.#seen)) this.changedAt = nowMs;
    this.#seen = facts;
  }

  /** Like `observe`, through the open handle; for a file that no path leads to. */
  async observeItself(nowMs: number): Promise<void> {
    if (this.#file) this.observe(await this.#file.facts(), nowMs);
  }

  /** Opens it at `path`. @returns false when nothing or another file is there. */
  async open(access: FileAccess, path: string): Promise<boolean> {
    const file = await access.open(path);
    if (file === undefined) return false;
    try {
      if (fileKey(await file.facts()) === this.key) {
        if (this.#isUnaligned) await this.#align(file);
        this.#isUnaligned = false;
        const head = await this.#readHead(file);
        if (hasStart(head, this.#head)) this.#head = head; // else `read` finds out
        this.#file = file;
        return true;
      }
    } catch (error) {
      await file.close();
      throw error;
    }
    await file.close();
    return false;
  }

  /** First bytes of the file, as far as they are known. */
  get head(): Uint8Array {
    return this.#head;
  }

  /** Closes the handle; what is known stays. */
  async rest(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /**
   * The next lines, as many as fit into `space` and the limits; a line that is longer than `space` gets its own memory.
   * @param isLast hand on an unfinished last line too
   */
  async read(space: Buffer, isLast = false): Promise<Reading> {
    const file = this.#file;
    if (file === undefined) throw new Error(`${this.origin} is not open`);
    const goal = this.#seen;
    // The byte in front tells a line's start from what is left of a cut line.
    const lead = this.#offset > 0 ? 1 : 0;
    const position = this.#offset - lead;
    for (let room = space; ; room = Buffer.allocUnsafe(Math.min(room.length * 4, this.#limits.lineBytes + 2))) {
      const wanted = Math.max(0, Math.min(goal.size - position, room.length));
      const bytes = room.subarray(0, await file.read(room, 0, wanted, position));
      // Looked at after the content, so that bytes of a new content are never taken for more of the old one.
      const head = await this.#readHead(file);
      if (!isContinued({ offset: this.#offset, head: this.#head }, goal.size, head)) return this.#restart();
      this.#head = head;
      const isAll = bytes.length < room.length;
      const lines = (isLast && isAll ? cutLastLines : cutLines)(bytes, Math.min(lead, bytes.length), this.#limits);
      if (lines.count > 0)
        return { kind: "lines", bytes, lines, position, isContinued: lead === 1 && bytes[0] !== LINE_FEED, goal };
      if (isAll) {
        this.#drained = goal;
        return { kind: "drained" };
      }
    }
  }

  /** The lines of `reading` were handed on. */
  acknowledge(reading: Reading & { kind: "lines" }): void {
    this.#offset = reading.position + reading.lines.next;
    if (this.#offset >= reading.goal.size) this.#drained = reading.goal;
  }

  #restart(): Reading {
    const offset = this.#offset;
    this.#offset = 0;
    this.#head = Buffer.alloc(0);
    this.#drained = undefined;
    this.hasEnded = false;
    return { kind: "restarted", offset };
  }

  async #readHead(file: OpenFile): Promise<Buffer> {
    const head = Buffer.allocUnsafe(this.#limits.headBytes);
    return head.subarray(0, await file.read(head, 0, head.length, 0));
  }

  /** Moves the offset back to the start of the line that it is in, unless that is longer than a line may be. */
  async #align(file: OpenFile): Promise<void> {
    const floor = Math.max(0, this.#offset - this.#limits.lineBytes);
    const block = Buffer.allocUnsafe(BACK_BYTES);
    let start = this.#offset;
    let feed = -1;
    for (let end = start; end > floor && feed < 0; end = start) {
      start = Math.max(floor, end - BACK_BYTES);
      const got = await file.read(block, 0, end - start, start);
      if (got < end - start) return; // truncated just now: `read` finds out
      feed = block.subarray(0, got).lastIndexOf(LINE_FEED);
    }
    if (feed >= 0) this.#offset = start + feed + 1;
    else if (floor === 0) this.#offset = 0;
  }
}

function isSame(a: FileFacts | undefined, b: FileFacts): boolean {
  return a !== undefined && a.size === b.size && a.modified === b.modified;
}
