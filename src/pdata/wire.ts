/**
 * The protobuf wire format, as much of it as OTLP needs (protobuf.dev/programming-guides/encoding): a cursor that walks
 * the fields of one message without decoding it, and a writer. Unknown fields are stepped over, never lost; a length
 * beyond the end, an over-long varint or an open group is always an error. What is accepted and the wording of errors
 * are the Collector's (pdata/internal/proto/unmarshal.go, 0.155), whose senders are used to them.
 */

/** Malformed bytes. `message` is worded as in the Collector ("unexpected EOF"). */
export class WireError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "WireError";
  }
}

export const VARINT = 0;
export const FIXED64 = 1;
export const LEN = 2;
/** A group, a form that protobuf gave up. No OTLP field is one. */
const START_GROUP = 3;
const END_GROUP = 4;
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
  /** Wire type: VARINT, FIXED64, LEN or FIXED32; 3 when the field is unknown and a group. */
  wire = 0;
  /** Where the field's tag starts. */
  start = 0;
  valueStart = 0;
  /** Where the field ends. */
  valueEnd = 0;
  #from: number;
  #to: number;

  constructor(bytes: Uint8Array, from = 0, to: number = bytes.length) {
    this.bytes = bytes;
    this.valueEnd = from;
    this.#from = from;
    this.#to = to;
  }

  /** Starts anew on another message. */
  reset(bytes: Uint8Array, from: number, to: number): this {
    this.bytes = bytes;
    this.valueEnd = from;
    this.#from = from;
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
    const tag = bytes[at] as number;
    if (tag > 7 && tag < 128) {
      this.field = tag >>> 3;
      this.wire = tag & 7;
      at++;
    } else {
      this.field = readTag(bytes, this.#from, at, to);
      this.wire = tagWire;
      at = varintEnd;
    }
    const end = skipField(bytes, this.#from, at, to, this.wire);
    this.valueStart = this.wire === LEN ? varintEnd : at;
    this.valueEnd = end;
    return true;
  }

  /** The current LEN or FIXED field's value, without copying. */
  view(): Uint8Array {
    return this.bytes.subarray(this.valueStart, this.valueEnd);
  }

  /** What lies behind the current field, up to the end of the message, without copying. */
  rest(): Uint8Array {
    return this.bytes.subarray(this.valueEnd, this.#to);
  }

  /** The current LEN field as UTF-8; broken sequences become U+FFFD. */
  string(): string {
    const { bytes, valueStart, valueEnd } = this;
    if (Buffer.isBuffer(bytes)) return bytes.toString("utf8", valueStart, valueEnd);
    return Buffer.from(bytes.buffer, bytes.byteOffset + valueStart, valueEnd - valueStart).toString("utf8");
  }

  /** The current VARINT field as a number; exact below 2^53. */
  varint(): number {
    return readVarint(this.bytes, this.valueStart, this.valueEnd);
  }

  /** The current VARINT field as a signed 64-bit integer (int64, not sint64). */
  int64(): bigint {
    const { bytes, valueStart, valueEnd } = this;
    if (valueEnd - valueStart < 8) return BigInt(readVarint(bytes, valueStart, valueEnd));
    return BigInt.asIntN(64, readVarint64(bytes, valueStart, valueEnd));
  }

  /** The current VARINT field cut to 32 bits, unsigned: uint32. `| 0` makes it int32 or an enum. */
  uint32(): number {
    const { bytes, valueStart, valueEnd } = this;
    let value = 0;
    for (let at = valueStart, shift = 0; at < valueEnd && shift < 32; at++, shift += 7)
      value |= ((bytes[at] as number) & 127) << shift;
    return value >>> 0;
  }

  /** The current FIXED32 field. */
  fixed32(): number {
    const { bytes, valueStart } = this;
    return new DataView(bytes.buffer, bytes.byteOffset + valueStart, 4).getUint32(0, true);
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

/** Where the last varint ended that `readVarint` or `readTag` read, or `skipField` read as a length; saves an allocation. */
export let varintEnd = 0;

/** An unsigned varint at `at` as a number (exact below 2^53); sets `varintEnd`. @throws WireError */
export function readVarint(bytes: Uint8Array, at: number, to: number): number {
  let value = 0;
  let scale = 1;
  let pos = at;
  for (let i = 0; i < 10; i++) {
    if (pos >= to) throw new WireError("unexpected EOF");
    const byte = bytes[pos++] as number;
    // The tenth byte has room for one bit; as in Go the others fall off.
    value += (byte & (i === 9 ? 1 : 127)) * scale;
    if (byte < 128) {
      varintEnd = pos;
      return value;
    }
    scale *= 128;
  }
  throw new WireError("proto: integer overflow");
}

/** An unsigned 64-bit varint, exact. */
export function readVarint64(bytes: Uint8Array, at: number, to: number): bigint {
  let value = 0n;
  let shift = 0n;
  for (let pos = at; pos < to && shift < 64n; pos++, shift += 7n) {
    const byte = bytes[pos] as number;
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) break;
  }
  return BigInt.asUintN(64, value);
}

/** The wire type of the last tag that `readTag` read. */
export let tagWire = 0;

/**
 * The field number of the tag at `at` in the message that starts at `from`; sets `tagWire`, and `varintEnd` to where the
 * tag ends. @throws WireError
 */
export function readTag(bytes: Uint8Array, from: number, at: number, to: number): number {
  const tag = readVarint(bytes, at, to);
  tagWire = (bytes[at] as number) & 7;
  let field = tag >>> 3;
  if (varintEnd - at > 4) field = Number(BigInt.asIntN(32, readVarint64(bytes, at, to) >> 3n));
  if (field <= 0) {
    // "Link" is what the Collector says whatever the message is.
    const whole = readVarint64(bytes, at, to);
    throw new WireError(`proto: Link: illegal field=${field} (tag=${whole}, pos=${varintEnd - from})`);
  }
  return field;
}

/**
 * Where the value at `at` (after its tag) ends, in the message that starts at `from`; of a LEN, `varintEnd` is then where
 * its content starts. Of a group the Collector steps over the first tags and one value and reads on as if the rest were
 * fields, so that most groups end as "unexpected end of group"; so do we, lest the two read the same bytes differently.
 * @throws WireError
 */
export function skipField(bytes: Uint8Array, from: number, at: number, to: number, wire: number): number {
  switch (wire) {
    case VARINT:
      return skipVarint(bytes, at, to);
    case FIXED64:
      return within(at + 8, to);
    case LEN:
      return readLength(bytes, at, to);
    case FIXED32:
      return within(at + 4, to);
    case START_GROUP:
      return skipGroup(bytes, from, at, to);
    default:
      if (at >= to) throw new WireError("unexpected EOF");
      throw new WireError(wire === END_GROUP ? "proto: unexpected end of group" : `proto: illegal wireType ${wire}`);
  }
}

/** Where the content ends whose length is at `at`; `varintEnd` is where it starts. @throws WireError */
export function readLength(bytes: Uint8Array, at: number, to: number): number {
  const short = at < to ? (bytes[at] as number) : 128;
  if (short < 128) {
    varintEnd = at + 1;
    return within(at + 1 + short, to);
  }
  const end = readVarint(bytes, at, to) + varintEnd;
  if (end <= to) return end;
  if (BigInt.asIntN(64, readVarint64(bytes, at, to)) < 0n)
    throw new WireError("proto: negative length found during unmarshaling");
  throw new WireError("unexpected EOF");
}

/** Where the varint at `at` ends. @throws WireError */
export function skipVarint(bytes: Uint8Array, at: number, to: number): number {
  for (let pos = at; pos < at + 10; pos++) {
    if (pos >= to) throw new WireError("unexpected EOF");
    if ((bytes[pos] as number) < 128) return pos + 1;
  }
  throw new WireError("proto: integer overflow");
}

function skipGroup(bytes: Uint8Array, from: number, start: number, to: number): number {
  let at = start;
  for (let depth = 1; depth > 0; ) {
    if (at >= to) throw new WireError("unexpected EOF");
    readTag(bytes, from, at, to);
    at = varintEnd;
    if (at >= to) throw new WireError("unexpected EOF");
    if (tagWire === START_GROUP) depth++;
    else if (tagWire === END_GROUP) depth--;
    else return skipField(bytes, from, at, to, tagWire);
  }
  return at;
}

function within(end: number, to: number): number {
  if (end > to) throw new WireError("unexpected EOF");
  return end;
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

const TWO_32 = 2 ** 32;
/** Texts below this length have a length of one byte. */
const SHORT_TEXT = 128;

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
