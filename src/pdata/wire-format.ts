/**
 * The protobuf wire format (protobuf.dev/programming-guides/encoding), as much of it as OTLP needs: tags, lengths and
 * varints. A length beyond the end, an over-long varint or an open group is always an error. What is accepted and the
 * wording of errors are the Collector's (pdata/internal/proto/unmarshal.go, 0.155), whose senders are used to them.
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
