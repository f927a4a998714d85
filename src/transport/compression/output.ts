/** Where a decoder writes: memory that grows up to a limit and never beyond. */
import { CorruptError, TooLargeError } from "./errors.ts";

/** Decoded bytes so far are `bytes[0, length)`. Growing replaces `bytes`, so take it anew after `reserve`. */
export class Output {
  bytes: Uint8Array;
  length = 0;
  readonly limit: number;

  /** @param expected a guess at the final size; only the first allocation depends on it. */
  constructor(limit: number, expected: number) {
    this.limit = limit;
    this.bytes = Buffer.allocUnsafe(Math.min(limit, Math.max(expected, 64)));
  }

  /** Makes room for `count` more bytes. @throws TooLargeError when they would pass the limit. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    if (needed > this.limit) throw new TooLargeError(this.limit);
    const grown = Buffer.allocUnsafe(Math.min(this.limit, Math.max(needed, this.bytes.length * 2)));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  /** Appends bytes. @throws TooLargeError */
  append(source: Uint8Array, from: number, to: number): void {
    this.reserve(to - from);
    this.bytes.set(source.subarray(from, to), this.length);
    this.length += to - from;
  }

  /** Appends one byte `count` times. @throws TooLargeError */
  fill(byte: number, count: number): void {
    this.reserve(count);
    this.bytes.fill(byte, this.length, this.length + count);
    this.length += count;
  }

  /**
   * Appends `count` bytes from `offset` bytes back, overlapping as LZ77 does; room must have been reserved.
   * @param oldest where the history that may be used begins.
   * @throws CorruptError when `offset` reaches behind it.
   */
  repeat(offset: number, count: number, oldest: number): void {
    const { bytes } = this;
    let to = this.length;
    let from = to - offset;
    if (offset <= 0 || from < oldest) throw new CorruptError("corrupt input: a match reaches behind the beginning");
    const end = to + count;
    if (offset >= count && count > 32) bytes.copyWithin(to, from, from + count);
    else if (offset === 1) bytes.fill(bytes[from] as number, to, end);
    else while (to < end) bytes[to++] = bytes[from++] as number;
    this.length = end;
  }

  /** What was decoded, without what was reserved in vain. */
  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

/**
 * A decoder that runs in steps: between two of them it may be set aside for other work. It appends to `output`.
 * @throws CorruptError, TooLargeError
 */
export type Decoder = (input: Uint8Array, output: Output) => Generator<void, void, void>;
