import { FIXED32, FIXED64, LEN, VARINT, varintSize } from "./wire-format.ts";

const TWO_32 = 2 ** 32;
/** Texts below this length have a length of one byte. */
const SHORT_TEXT = 128;
/** Up to so many bytes are copied one by one. */
const FEW = 48;

const HEX_DIGITS = Buffer.from("0123456789abcdef");

function nibble(c: number): number {
  return c < 58 ? c - 48 : (c | 32) - 87;
}

/** Appends protobuf to a buffer that grows. `finish()` gives what was written; the writer can then be used again. */
export class WireWriter {
  #buffer: Buffer;
  #at = 0;

  constructor(capacity = 1024) {
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#at;
  }

  /** The writer's own memory, up to `length`: for what is changed after it was written. Good until the next call. */
  get memory(): Uint8Array {
    return this.#buffer;
  }

  #room(size: number): void {
    if (this.#at + size <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + size));
    this.#buffer.copy(grown, 0, 0, this.#at);
    this.#buffer = grown;
  }

  /** A bare varint (0 <= value < 2^53). */
  varint(value: number): this {
    this.#room(10);
    let rest = value;
    while (rest > 127) {
      this.#buffer[this.#at++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#buffer[this.#at++] = rest;
    return this;
  }

  tag(field: number, wire: number): this {
    return this.varint(field * 8 + wire);
  }

  /** Bytes as they are, without tag or length. */
  raw(bytes: Uint8Array, from = 0, to: number = bytes.length): this {
    const size = to - from;
    this.#room(size);
    // A few bytes cost less in a loop than a call into native code.
    if (size <= FEW) for (let i = 0; i < size; i++) this.#buffer[this.#at + i] = bytes[from + i] as number;
    else this.#buffer.set(size === bytes.length ? bytes : bytes.subarray(from, to), this.#at);
    this.#at += size;
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    return this.tag(field, LEN).varint(value.length).raw(value);
  }

  string(field: number, value: string): this {
    this.tag(field, LEN);
    if (value.length < SHORT_TEXT) {
      // Short ASCII, as keys and ids are: a loop costs less than a call into native code.
      this.#room(value.length + 1);
      const start = this.#at;
      const buffer = this.#buffer;
      buffer[start] = value.length;
      let i = 0;
      for (; i < value.length; i++) {
        const c = value.charCodeAt(i);
        if (c > 127) break;
        buffer[start + 1 + i] = c;
      }
      if (i === value.length) {
        this.#at = start + 1 + i;
        return this;
      }
    }
    const size = Buffer.byteLength(value);
    this.varint(size);
    this.#room(size);
    this.#at += this.#buffer.write(value, this.#at, "utf8");
    return this;
  }

  /** Lower- or upper-case hex as bytes; the caller vouches for an even number of hex digits. */
  hex(field: number, value: string): this {
    const size = value.length / 2;
    this.tag(field, LEN).varint(size);
    this.#room(size);
    for (let i = 0; i < value.length; i += 2)
      this.#buffer[this.#at++] = (nibble(value.charCodeAt(i)) << 4) | nibble(value.charCodeAt(i + 1));
    return this;
  }

  /** Bytes as lower-case hex digits, without tag or length. */
  hexText(bytes: Uint8Array, from: number, count: number): this {
    this.#room(count * 2);
    const buffer = this.#buffer;
    for (let i = 0; i < count; i++) {
      const byte = bytes[from + i] as number;
      buffer[this.#at++] = HEX_DIGITS[byte >>> 4] as number;
      buffer[this.#at++] = HEX_DIGITS[byte & 15] as number;
    }
    return this;
  }

  uint(field: number, value: number): this {
    return this.tag(field, VARINT).varint(value);
  }

  /** int64 as a varint; negative values take ten bytes. */
  int64(field: number, value: bigint): this {
    this.tag(field, VARINT);
    this.#room(10);
    let rest = BigInt.asUintN(64, value);
    while (rest > 127n) {
      this.#buffer[this.#at++] = Number(rest & 127n) | 128;
      rest >>= 7n;
    }
    this.#buffer[this.#at++] = Number(rest);
    return this;
  }

  fixed64(field: number, value: bigint): this {
    this.tag(field, FIXED64);
    this.#room(8);
    this.#at = this.#buffer.writeBigUInt64LE(value, this.#at);
    return this;
  }

  /** A fixed64 of whole microseconds as nanoseconds, without a bigint. */
  nanosOfMicros(field: number, micros: number): this {
    this.tag(field, FIXED64);
    this.#room(8);
    const low = (micros % TWO_32) * 1000;
    const high = Math.floor(micros / TWO_32) * 1000 + Math.floor(low / TWO_32);
    this.#buffer.writeUInt32LE(low % TWO_32, this.#at);
    this.#at = this.#buffer.writeUInt32LE(high, this.#at + 4);
    return this;
  }

  fixed32(field: number, value: number): this {
    this.tag(field, FIXED32);
    this.#room(4);
    this.#at = this.#buffer.writeUInt32LE(value >>> 0, this.#at);
    return this;
  }

  double(field: number, value: number): this {
    this.tag(field, FIXED64);
    this.#room(8);
    this.#at = this.#buffer.writeDoubleLE(value, this.#at);
    return this;
  }

  /** A nested message: what `write` appends, with its length in front. */
  message(field: number, write: (writer: this) => void): this {
    const mark = this.open(field);
    write(this);
    return this.close(mark);
  }

  /**
   * Begins a nested message; what is appended until `close` is its content. `about` is its size as far as it is known:
   * when its varint is as long as the real one's, nothing has to be moved. @returns what `close` wants
   */
  open(field: number, about = 0): number {
    this.tag(field, LEN);
    const lengthAt = this.#at;
    const reserved = varintSize(about);
    this.#room(reserved);
    this.#at += reserved;
    return lengthAt;
  }

  /** Ends the innermost nested message. @param about as given to `open` */
  close(lengthAt: number, about = 0): this {
    const contentAt = lengthAt + varintSize(about);
    const size = this.#at - contentAt;
    const wantedAt = lengthAt + varintSize(size);
    if (wantedAt !== contentAt) {
      if (wantedAt > contentAt) this.#room(wantedAt - contentAt);
      this.#buffer.copyWithin(wantedAt, contentAt, this.#at);
    }
    this.#at = lengthAt;
    this.varint(size);
    this.#at = wantedAt + size;
    return this;
  }

  /** What was written, in the writer's own memory: the last call, which saves a copy. */
  release(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  /** What was written, in memory of its own; the writer is empty again. */
  finish(): Buffer {
    const out = Buffer.from(this.#buffer.subarray(0, this.#at));
    this.#at = 0;
    return out;
  }
}
