import { toHex } from "./ids.ts";
import { type JsonField, type JsonMessage, jsonMessage, KIND } from "./json-schema.ts";
import type { Signal } from "./payload.ts";
import { REQUEST } from "./schema.ts";
import { countItems } from "./validate.ts";
import { LEN, readVarint64, skipVarint, VARINT, WireCursor } from "./wire.ts";

/** How to write what JavaScript has no one spelling for. */
export interface Spelling {
  /** A 64-bit integer. */
  readonly integer: (value: bigint) => unknown;
  /** The value of a bytes field, in the request's memory. */
  readonly bytes: (value: Buffer) => unknown;
  readonly double: (value: number) => unknown;
}

export type Plain = { [name: string]: unknown };

const SCOPES = 2;
const OLD_SCOPES = 1000;

/**
 * An encoded export request as an object: lowerCamelCase keys in the order of proto/, ids as lower-case hex, enums as
 * numbers. Fields that have their default are left out; members of a oneof, `optional` fields and messages are there
 * when they are on the wire. Unknown fields are left out; scopes of the old form stand in where there are no others.
 * @throws WireError as countItems does
 */
export function toPlain(signal: Signal, bytes: Uint8Array, spelling: Spelling): Plain {
  countItems(signal, bytes); // from here on every known field has its wire type
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return readMessage(jsonMessage(REQUEST[signal]), new WireCursor(buffer), spelling, {});
}

/** Reads a message on top of `before`: one that comes in parts is merged. */
function readMessage(message: JsonMessage, cursor: WireCursor, spelling: Spelling, before: Plain): Plain {
  const read: Plain = before;
  while (cursor.next()) {
    const field = message.byNumber[cursor.field];
    if (field === undefined) continue;
    const { name } = field;
    for (const rival of field.rivals) delete read[rival.name];
    if (field.repeated) {
      const list = (read[name] ?? []) as unknown[];
      read[name] = list;
      if (cursor.wire === LEN && isNumber(field)) readPacked(field, cursor, spelling, list);
      else list.push(readValue(field, cursor, spelling, {}));
    } else if (!field.presence && field.kind !== KIND.MESSAGE && isDefault(cursor)) delete read[name];
    else read[name] = readValue(field, cursor, spelling, field.presence ? {} : ((read[name] ?? {}) as Plain));
  }
  const out: Plain = {};
  for (const { name, number } of message.fields) {
    if (!(name in read)) continue;
    if (number !== OLD_SCOPES) out[name] = read[name];
    else {
      const { name: current } = message.byNumber[SCOPES] as JsonField;
      if (!(current in read)) out[current] = read[name];
    }
  }
  return out;
}

function isNumber({ kind }: JsonField): boolean {
  return kind !== KIND.MESSAGE && kind !== KIND.STRING && kind !== KIND.BYTES;
}

/** Whether the current field's value is empty or all zero bits. */
function isDefault({ bytes, wire, valueStart, valueEnd }: WireCursor): boolean {
  if (wire === LEN) return valueStart === valueEnd;
  if (wire === VARINT) return readVarint64(bytes, valueStart, valueEnd) === 0n;
  for (let at = valueStart; at < valueEnd; at++) if (bytes[at] !== 0) return false;
  return true;
}

function readPacked(field: JsonField, cursor: WireCursor, spelling: Spelling, list: unknown[]): void {
  const wire = field.kind === KIND.UINT64 ? VARINT : 1;
  const { bytes, valueEnd } = cursor;
  const element = new WireCursor(bytes);
  for (let at = cursor.valueStart; at < valueEnd; at = element.valueEnd) {
    element.valueStart = at;
    element.valueEnd = wire === VARINT ? skipVarint(bytes, at, valueEnd) : at + 8;
    list.push(readValue(field, element, spelling, {}));
  }
}

function readValue(field: JsonField, cursor: WireCursor, spelling: Spelling, before: Plain): unknown {
  switch (field.kind) {
    case KIND.MESSAGE: {
      const inside = new WireCursor(cursor.bytes, cursor.valueStart, cursor.valueEnd);
      return readMessage(field.child as JsonMessage, inside, spelling, before);
    }
    case KIND.STRING:
      return cursor.string();
    case KIND.BYTES:
      return spelling.bytes(cursor.view() as Buffer);
    case KIND.TRACE_ID:
    case KIND.SPAN_ID:
      return toHex(cursor.bytes, cursor.valueStart, cursor.valueEnd);
    case KIND.BOOL:
      return cursor.int64() !== 0n;
    case KIND.ENUM:
    case KIND.INT32:
      return cursor.uint32() | 0;
    case KIND.UINT32:
      return cursor.uint32();
    case KIND.SINT32: {
      const value = cursor.uint32();
      return (value >>> 1) ^ -(value & 1);
    }
    case KIND.FIXED32:
      return cursor.fixed32();
    case KIND.INT64:
      return spelling.integer(cursor.int64());
    case KIND.UINT64:
      return spelling.integer(BigInt.asUintN(64, cursor.int64()));
    case KIND.FIXED64:
      return spelling.integer(cursor.fixed64());
    case KIND.SFIXED64:
      return spelling.integer(BigInt.asIntN(64, cursor.fixed64()));
    default:
      return spelling.double(cursor.double());
  }
}
