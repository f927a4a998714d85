import { LEN, readFixed64, readTag, readVarint, readVarint64, skipField, tagWire, varintEnd } from "./wire-format.ts";

export {
  FIXED32,
  FIXED64,
  LEN,
  readLength,
  readTag,
  readVarint,
  readVarint64,
  skipField,
  skipVarint,
  tagWire,
  VARINT,
  varintEnd,
  varintSize,
  WireError,
} from "./wire-format.ts";
export { WireWriter } from "./wire-writer.ts";

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
}
