/**
 * The protobuf wire format, as much of it as OTLP needs (protobuf.dev/programming-guides/encoding): a cursor that walks
 * the fields of one message without decoding it, and a writer. Unknown fields are stepped over, never lost; a wrong
 * wire type, a length beyond the end or an over-long varint is always an error.
 */

/** Malformed bytes. `message` is worded as gogo/protobuf does in the Collector ("unexpected EOF"). */
export class WireError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "WireError";
  }
}

export const VARINT = 0;
export const FIXED64 = 1;
export const LEN = 2;
export const FIXED32 = 5;

/**
 * Walks the fields of the message in `bytes[from, to)`. After `next()` returned true the fields describe the current
 * field: its tag starts at `start`, its value is `bytes[valueStart, valueEnd)` (for LEN without the length itself).
 * One cursor may be reused with `reset`; it allocates nothing.
 */
export class WireCursor {
  bytes: Uint8Array;
  /** Field number. */
  field = 0;
  /** Wire type: VARINT, FIXED64, LEN or FIXED32. */
  wire = 0;
  /** Where the field's tag starts. */
  start = 0;
  valueStart = 0;
  /** Where the field ends. */
  valueEnd = 0;
  #to: number;

  constructor(bytes: Uint8Array, from = 0, to: number = bytes.length) {
    this.bytes = bytes;
    this.valueEnd = from;
    this.#to = to;
  }

  /** Starts anew on another message. */
  reset(bytes: Uint8Array, from: number, to: number): this {
    this.bytes = bytes;
    this.valueEnd = from;
    this.#to = to;
    return this;
  }

  /** Steps to the next field; false at the end. @throws WireError */
  next(): boolean {
    const { bytes } = this;
    const to = this.#to;
    let at = this.valueEnd;
    if (at >= to) return false;
    this.start = at;
    let tag = bytes[at++] as number;
    if (tag > 127) {
      tag = readVarint(bytes, at - 1, to);
      at = varintEnd;
    }
    this.field = tag >>> 3;
    this.wire = tag & 7;
    if (this.field === 0) throw new WireError("proto: illegal tag 0");
    switch (this.wire) {
      case VARINT:
        this.valueStart = at;
        while (at < to && (bytes[at] as number) > 127) at++;
        if (at >= to) throw new WireError("unexpected EOF");
        at++;
        if (at - this.valueStart > 10) throw new WireError("proto: integer overflow");
        break;
      case FIXED64:
        this.valueStart = at;
        at += 8;
        break;
      case LEN: {
        if (at >= to) throw new WireError("unexpected EOF");
        let length = bytes[at++] as number;
        if (length > 127) {
          length = readVarint(bytes, at - 1, to);
          at = varintEnd;
        }
        this.valueStart = at;
        at += length;
        break;
      }
      case FIXED32:
        this.valueStart = at;
        at += 4;
        break;
      default:
        throw new WireError(`proto: illegal wireType ${this.wire}`);
    }
    if (at > to) throw new WireError("unexpected EOF");
    this.valueEnd = at;
    return true;
  }

  /** The current LEN or FIXED field's value, without copying. */
  view(): Uint8Array {
    return this.bytes.subarray(this.valueStart, this.valueEnd);
  }

  /** The current LEN field as UTF-8; broken sequences become U+FFFD. */
  string(): string {
    const { bytes, valueStart, valueEnd } = this;
    return Buffer.from(bytes.buffer, bytes.byteOffset + valueStart, valueEnd - valueStart).toString("utf8");
  }

  /** The current VARINT field as a number; exact below 2^53. */
  varint(): number {
    return readVarint(this.bytes, this.valueStart, this.valueEnd);
  }

  /** The current VARINT field as a signed 64-bit integer (int64, not sint64). */
  int64(): bigint {
    let value = 0n;
    for (let at = this.valueStart, shift = 0n; at < this.valueEnd; at++, shift += 7n)
      value |= BigInt((this.bytes[at] as number) & 127) << shift;
    return BigInt.asIntN(64, value);
  }

  /** The current FIXED64 field as an unsigned integer. */
  fixed64(): bigint {
    return readFixed64(this.bytes, this.valueStart);
  }

  /** The current FIXED64 field as a double. */
  double(): number {
    const { bytes, valueStart } = this;
    return new DataView(bytes.buffer, bytes.byteOffset + valueStart, 8).getFloat64(0, true);
  }

  /** @throws WireError unless the current field has this wire type. */
  expect(wire: number, what: string): void {
    if (this.wire !== wire) throw new WireError(`proto: wrong wireType = ${this.wire} for field ${what}`);
  }
}

/** Where the last `readVarint` ended; saves an allocation a varint. */
export let varintEnd = 0;

/** An unsigned varint at `at` as a number (exact below 2^53); sets `varintEnd`. @throws WireError */
export function readVarint(bytes: Uint8Array, at: number, to: number): number {
  let value = 0;
  let scale = 1;
  for (let i = 0; i < 10; i++) {
    if (at >= to) throw new WireError("unexpected EOF");
    const byte = bytes[at++] as number;
    value += (byte & 127) * scale;
    if (byte < 128) {
      varintEnd = at;
      return value;
    }
    scale *= 128;
  }
  throw new WireError("proto: integer overflow");
}

/** An unsigned little-endian 64-bit integer. */
export function readFixed64(bytes: Uint8Array, at: number): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getBigUint64(at, true);
}

/** How many bytes `value` takes as a varint (0 <= value < 2^53). */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 127; rest = Math.floor(rest / 128)) size++;
  return size;
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
    this.#room(to - from);
    this.#buffer.set(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to), this.#at);
    this.#at += to - from;
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    return this.tag(field, LEN).varint(value.length).raw(value);
  }

  string(field: number, value: string): this {
    const size = Buffer.byteLength(value);
    this.tag(field, LEN).varint(size);
    this.#room(size);
    this.#at += this.#buffer.write(value, this.#at, "utf8");
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
    this.tag(field, LEN);
    const lengthAt = this.#at;
    this.#room(1);
    this.#at++;
    write(this);
    const size = this.#at - lengthAt - 1;
    const extra = varintSize(size) - 1;
    if (extra > 0) {
      this.#room(extra);
      this.#buffer.copyWithin(lengthAt + 1 + extra, lengthAt + 1, this.#at);
    }
    const end = this.#at + extra;
    this.#at = lengthAt;
    this.varint(size);
    this.#at = end;
    return this;
  }

  /** What was written, in memory of its own; the writer is empty again. */
  finish(): Buffer {
    const out = Buffer.from(this.#buffer.subarray(0, this.#at));
    this.#at = 0;
    return out;
  }
}
