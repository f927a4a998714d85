/** Which trace the spans of a trace were moved into, for the newest moves: what names no request follows them. */
import { type IdSource, isId, writeId } from "./id-source.ts";

const ID_BYTES = 16;
const WORDS = 4;

/** Moves in the order they were made, found by the id of the trace that was left. */
class Generation {
  readonly #from: Uint32Array;
  readonly #to: Uint8Array;
  /** 1 where spans of one trace went to several: nothing follows them. */
  readonly shared: Uint8Array;
  /** By hash: number of the move plus one; 0 where there is none. Open addressing, at most half full. */
  readonly #table: Int32Array;
  size = 0;

  constructor(most: number) {
    this.#from = new Uint32Array(most * WORDS);
    this.#to = new Uint8Array(most * ID_BYTES);
    this.shared = new Uint8Array(most);
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(most * 2)));
  }

  clear(): void {
    this.size = 0;
    this.#table.fill(0);
  }

  /** The move's number, or -1. */
  find(a: number, b: number, c: number, d: number): number {
    const table = this.#table;
    const from = this.#from;
    const mask = table.length - 1;
    for (let at = hash(a, b, c, d) & mask; ; at = (at + 1) & mask) {
      const move = (table[at] as number) - 1;
      if (move < 0) return -1;
      const word = move * WORDS;
      if (from[word] === a && from[word + 1] === b && from[word + 2] === c && from[word + 3] === d) return move;
    }
  }

  get isFull(): boolean {
    return this.size === this.shared.length;
  }

  /** Adds one that `find` does not find. */
  add(a: number, b: number, c: number, d: number, to: IdSource, shared: boolean): void {
    const move = this.size++;
    const word = move * WORDS;
    this.#from[word] = a;
    this.#from[word + 1] = b;
    this.#from[word + 2] = c;
    this.#from[word + 3] = d;
    writeId(this.#to, move * ID_BYTES, to, ID_BYTES);
    this.shared[move] = shared ? 1 : 0;
    const mask = this.#table.length - 1;
    let at = hash(a, b, c, d) & mask;
    while (this.#table[at] !== 0) at = (at + 1) & mask;
    this.#table[at] = move + 1;
  }

  leadsTo(move: number, to: IdSource): boolean {
    return this.shared[move] === 0 && isId(this.#to, move * ID_BYTES, to, ID_BYTES);
  }

  target(move: number): string | undefined {
    if (this.shared[move] === 1) return undefined;
    return Buffer.from(this.#to.buffer, move * ID_BYTES, ID_BYTES).toString("hex");
  }
}

/**
 * At most `most` moves, at least the newer half of them. In typed arrays: nearly every span is a move, and texts of all those
 * ids would be most of what a span leaves to the garbage collection.
 */
export class MovedTraces {
  readonly #half: number;
  #young: Generation;
  #old: Generation;

  constructor(most: number) {
    this.#half = Math.max(1, Math.floor(most / 2));
    this.#young = new Generation(this.#half);
    this.#old = new Generation(this.#half);
  }

  /** True before the first `note`. */
  get empty(): boolean {
    return this.#young.size + this.#old.size === 0;
  }

  /** A span left the trace whose 16 bytes are at `bytes[at]`, for `to`. */
  note(bytes: Uint8Array, at: number, to: IdSource): void {
    const a = wordAt(bytes, at);
    const b = wordAt(bytes, at + 4);
    const c = wordAt(bytes, at + 8);
    const d = wordAt(bytes, at + 12);
    const young = this.#young.find(a, b, c, d);
    if (young >= 0) {
      if (!this.#young.leadsTo(young, to)) this.#young.shared[young] = 1;
      return;
    }
    const old = this.#old.find(a, b, c, d);
    const shared = old >= 0 && !this.#old.leadsTo(old, to);
    if (this.#young.isFull) this.#turn();
    this.#young.add(a, b, c, d, to, shared);
  }

  /** Where the trace's spans went, as hex; undefined when nothing is known of it, or when they went to several traces. */
  target(bytes: Uint8Array, at: number): string | undefined {
    const a = wordAt(bytes, at);
    const b = wordAt(bytes, at + 4);
    const c = wordAt(bytes, at + 8);
    const d = wordAt(bytes, at + 12);
    for (const generation of [this.#young, this.#old]) {
      const move = generation.find(a, b, c, d);
      if (move >= 0) return generation.target(move);
    }
    return undefined;
  }

  #turn(): void {
    const free = this.#old;
    free.clear();
    this.#old = this.#young;
    this.#young = free;
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

/** Trace ids are random as a rule; those that are not differ in some word. */
function hash(a: number, b: number, c: number, d: number): number {
  const mixed = Math.imul(a ^ Math.imul(b, 0x85ebca6b) ^ Math.imul(c, 0xc2b2ae35) ^ d, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
