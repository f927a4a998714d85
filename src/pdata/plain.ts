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
  return readMessage(jsonMessage(REQUEST[signal]), new WireCursor(buffer), spelling);
}

function readMessage(message: JsonMessage, cursor: WireCursor, spelling: Spelling): Plain {
  const { fields, byNumber } = message;
  /** By JsonField.index. */
  const values = new Array<unknown>(fields.length);
  /** Index of the member of the oneof that is set; no message has two oneofs. */
  let member = -1;
  while (cursor.next()) {
    const field = byNumber[cursor.field];
    if (field === undefined) continue;
    const { index } = field;
    if (field.repeated) {
      const list = (values[index] ?? []) as unknown[];
      values[index] = list;
      if (cursor.wire === LEN && isNumber(field)) readPacked(field, cursor, spelling, list);
      else list.push(readValue(field, cursor, spelling));
    } else if (field.inOneof) {
      if (member >= 0) values[member] = undefined;
      member = index;
      values[index] = readValue(field, cursor, spelling);
    } else if (field.kind === KIND.MESSAGE) {
      const parts = (values[index] ?? []) as WireCursor[];
      parts.push(inside(cursor));
      values[index] = parts;
    } else values[index] = field.presence || !isDefault(cursor) ? readValue(field, cursor, spelling) : undefined;
  }
  const out: Plain = {};
  for (const field of fields) {
    let value = values[field.index];
    if (value === undefined) continue;
    if (field.kind === KIND.MESSAGE && !field.repeated && !field.inOneof)
      value = readMessage(field.child as JsonMessage, together(value as WireCursor[]), spelling);
    if (field.number !== OLD_SCOPES) out[field.name] = value;
    else {
      const { name } = byNumber[SCOPES] as JsonField;
      if (!(name in out)) out[name] = value;
    }
  }
  return out;
}

function inside(cursor: WireCursor): WireCursor {
  return new WireCursor(cursor.bytes, cursor.valueStart, cursor.valueEnd);
}

/** A message that comes in parts is what the parts are one after the other. */
function together(parts: readonly WireCursor[]): WireCursor {
  const [first] = parts;
  if (first && parts.length === 1) return first;
  return new WireCursor(Buffer.concat(parts.map((part) => part.rest())));
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
    list.push(readValue(field, element, spelling));
  }
}

function readValue(field: JsonField, cursor: WireCursor, spelling: Spelling): unknown {
  switch (field.kind) {
    case KIND.MESSAGE:
      return readMessage(field.child as JsonMessage, inside(cursor), spelling);
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
