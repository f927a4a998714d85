/** Bit streams of Zstandard (RFC 8878, section 4.1): least significant bit first, read forward or backward. */
import { CorruptError } from "./errors.ts";

/** Reads from the first bit on; used for table descriptions. */
export class ForwardBits {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  /** Bits of `bytes[from, to)`. */
  constructor(bytes: Uint8Array, from: number, to: number) {
    this.#bytes = bytes;
    this.#at = from * 8;
    this.#end = to * 8;
  }

  /** The next `count` bits (at most 16) without consuming them; zeros behind the end. */
  peek(count: number): number {
    const byte = this.#at >> 3;
    const last = this.#end >> 3;
    const low = byte < last ? (this.#bytes[byte] as number) : 0;
    const middle = byte + 1 < last ? (this.#bytes[byte + 1] as number) : 0;
    const high = byte + 2 < last ? (this.#bytes[byte + 2] as number) : 0;
    return ((low | (middle << 8) | (high << 16)) >>> (this.#at & 7)) & ((1 << count) - 1);
  }

  /** @throws CorruptError behind the end. */
  skip(count: number): void {
    this.#at += count;
    if (this.#at > this.#end) throw new CorruptError("zstd: corrupt input: a table description is cut off");
  }

  /** Index of the first byte that no bit was taken of. */
  get nextByte(): number {
    return (this.#at + 7) >> 3;
  }
}

/**
 * Reads from the last bit back. The last byte's highest set bit ends the stream and is not part of it. Reading before the
 * beginning gives zeros and makes `left` negative: callers check it where the format says the stream must be used up.
 */
export class BackwardBits {
  readonly #bytes: Uint8Array;
  readonly #first: number;
  /** Bits not read yet; negative after reading too far. */
  left: number;

  /** Bits of `bytes[from, to)`. @throws CorruptError when there is no end mark. */
  constructor(bytes: Uint8Array, from: number, to: number) {
    const last = to > from ? (bytes[to - 1] as number) : 0;
    if (last === 0) throw new CorruptError("zstd: corrupt input: a bit stream has no end mark");
    this.#bytes = bytes;
    this.#first = from;
    this.left = (to - from) * 8 - (Math.clz32(last) - 24) - 1;
  }

  /** The next `count` bits, at most 24, without consuming them. */
  peek(count: number): number {
    const low = this.left - count;
    if (low < 0) return this.left <= 0 ? 0 : this.#bits(0, this.left) << -low;
    return this.#bits(low, count);
  }

  /** Consumes `count` bits, at most 24. */
  read(count: number): number {
    const value = this.peek(count);
    this.left -= count;
    return value;
  }

  #bits(low: number, count: number): number {
    const bytes = this.#bytes;
    const at = this.#first + (low >> 3);
    // Behind the end of the array there is undefined, which counts as 0 here.
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    return (word >>> (low & 7)) & ((1 << count) - 1);
  }
}
