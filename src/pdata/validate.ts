import type { Signal } from "./payload.ts";
import { ENUMS, fieldsOf, MAX_VALUE_DEPTH, MESSAGES, type MessageName, REQUEST } from "./schema.ts";
import {
  FIXED32,
  FIXED64,
  LEN,
  readLength,
  readTag,
  skipField,
  skipVarint,
  tagWire,
  VARINT,
  varintEnd,
  WireCursor,
  WireError,
} from "./wire.ts";

/**
 * Checks an encoded export request as the Collector does when it unmarshals one, and counts its items: spans, metric
 * data points or log records. One pass, no allocation.
 *
 * Checked at every level that OTLP names: wire types of known fields, lengths, varints, ids of 0 or 16 (trace) and 0 or
 * 8 (span) bytes, packed numbers; at most MAX_VALUE_DEPTH values inside one another. Unknown fields need only be
 * well-formed. Strings are not checked for UTF-8: the Collector hands them on as they are, and so do we.
 *
 * @throws WireError with the Collector's message
 */
export function countItems(signal: Signal, bytes: Uint8Array): number {
  items = 0;
  deprecatedItems = 0;
  checkMessage(bytes, 0, bytes.length, idOf(REQUEST[signal]), 0);
  return items;
}

/* Tags of a KeyValue's and of an AnyValue's fields (common.proto). */
const KEY_TAG = 8 + LEN;
const VALUE_TAG = 16 + LEN;
const TEXT_TAG = 8 + LEN;
const TRUTH_TAG = 16 + VARINT;
const INTEGER_TAG = 24 + VARINT;
const DOUBLE_TAG = 32 + FIXED64;

/** Items seen so far in the request at hand. */
let items = 0;
/** Items in scopes of the old form, of the resource at hand. */
let deprecatedItems = 0;

/*
 * What is legal: for each message and each one-byte tag (field 1 to 15 with its wire type) one of these, or CHILD plus
 * the number of the message that the field holds. 0 sends a tag the long way round: unknown, wrong or of two bytes.
 */
const ANY_VARINT = 1;
const ANY_FIXED64 = 2;
const ANY_LEN = 3;
const ANY_FIXED32 = 4;
const TRACE_ID = 5;
const SPAN_ID = 6;
const PACKED_FIXED64 = 7;
const PACKED_VARINT = 8;
const CHILD = 16;

const names = Object.keys(MESSAGES) as MessageName[];
const rules = new Uint8Array(names.length * 128);
/** The same for fields beyond 15: `message * 2^32 + field` to a rule and its wire type. */
const farRules = new Map<number, { rule: number; wire: number }>();
const ANY_VALUE = idOf("AnyValue");
const KEY_VALUE = idOf("KeyValue");
const METRIC = idOf("Metric");
const METADATA = 12;
/** Field 1000 of ResourceSpans and its kin; counts only where there is no field 2. */
const DEPRECATED_SCOPES = 1000;
const SCOPES = 2;
/** By message: 1 where one is an item. */
const isItem = new Uint8Array(names.length);

for (const name of names) {
  if (/^(Span|LogRecord|\w+DataPoint)$/.test(name)) isItem[idOf(name)] = 1;
  for (const [number, , type, rule] of fieldsOf(name)) {
    const packed = rule === "repeated" ? packedRule(type) : undefined;
    if (packed !== undefined) rules[idOf(name) * 128 + number * 8 + LEN] = packed;
    const [single, wire] = ruleOf(type);
    if (number < 16) rules[idOf(name) * 128 + number * 8 + wire] = single;
    else farRules.set(idOf(name) * 2 ** 32 + number, { rule: single, wire });
  }
}

function idOf(name: MessageName): number {
  return names.indexOf(name);
}

function ruleOf(type: string): readonly [rule: number, wire: number] {
  switch (type) {
    case "bool":
    case "int32":
    case "int64":
    case "sint32":
    case "uint32":
    case "uint64":
      return [ANY_VARINT, VARINT];
    case "double":
    case "fixed64":
    case "sfixed64":
      return [ANY_FIXED64, FIXED64];
    case "fixed32":
      return [ANY_FIXED32, FIXED32];
    case "string":
    case "bytes":
      return [ANY_LEN, LEN];
    case "trace_id":
      return [TRACE_ID, LEN];
    case "span_id":
      return [SPAN_ID, LEN];
    default:
      return type in ENUMS ? [ANY_VARINT, VARINT] : [CHILD + idOf(type as MessageName), LEN];
  }
}

function packedRule(type: string): number | undefined {
  const [rule] = ruleOf(type);
  if (rule === ANY_FIXED64) return PACKED_FIXED64;
  return rule === ANY_VARINT ? PACKED_VARINT : undefined;
}

/** Checks `bytes[from, to)` as a message; `depth` counts the values it is inside of. */
function checkMessage(bytes: Uint8Array, from: number, to: number, message: number, depth: number): void {
  const row = message * 128;
  const before = items;
  let at = from;
  while (at < to) {
    const tag = bytes[at] as number;
    const rule = tag < 128 ? (rules[row + tag] as number) : 0;
    switch (rule) {
      case 0:
        at = checkOther(bytes, from, at, to, message, depth);
        break;
      case ANY_VARINT:
        at = skipVarint(bytes, at + 1, to);
        break;
      case ANY_FIXED64:
        at += 9;
        if (at > to) throw new WireError("unexpected EOF");
        break;
      case ANY_FIXED32:
        at += 5;
        if (at > to) throw new WireError("unexpected EOF");
        break;
      default: {
        const end = readLength(bytes, at + 1, to);
        if (rule >= CHILD) {
          const child = rule - CHILD;
          if (message === METRIC && tag >>> 3 !== METADATA) items = before; // of the oneof `data` the last one counts
          items += isItem[child] as number;
          if (child === ANY_VALUE) checkDepth(depth);
          if (child !== KEY_VALUE || depth >= MAX_VALUE_DEPTH || !isPlainPair(bytes, varintEnd, end))
            checkMessage(bytes, varintEnd, end, child, child === ANY_VALUE ? depth + 1 : depth);
        } else if (rule !== ANY_LEN) checkBytes(bytes, varintEnd, end, rule, message, tag >>> 3);
        at = end;
      }
    }
  }
  if (deprecatedItems > 0 && farRules.has(message * 2 ** 32 + DEPRECATED_SCOPES)) {
    if (!hasField(bytes, from, to, SCOPES)) items += deprecatedItems;
    deprecatedItems = 0;
  }
}

/**
 * True for a KeyValue as nearly all are: a key and one text, truth value, integer or double, each once, in this order, and
 * each of less than 128 bytes. Such a one is right, and most of a request is made of them; others take the long way.
 */
function isPlainPair(bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from < 6 || bytes[from] !== KEY_TAG) return false;
  const keyLength = bytes[from + 1] as number;
  const at = from + 2 + keyLength;
  // Behind the key: tag and length of the value, its own tag and at least a byte.
  if (keyLength > 127 || at + 4 > to || bytes[at] !== VALUE_TAG || (bytes[at + 1] as number) !== to - at - 2)
    return false;
  const valueAt = at + 3;
  switch (bytes[at + 2]) {
    case TEXT_TAG:
      return (bytes[valueAt] as number) === to - valueAt - 1 && to - valueAt <= 128;
    case DOUBLE_TAG:
      return to - valueAt === 8;
    case TRUTH_TAG:
    case INTEGER_TAG: {
      if (to - valueAt > 9) return false;
      for (let pos = valueAt; pos < to - 1; pos++) if ((bytes[pos] as number) < 128) return false;
      return (bytes[to - 1] as number) < 128;
    }
    default:
      return false;
  }
}

function checkDepth(depth: number): void {
  if (depth >= MAX_VALUE_DEPTH) throw new WireError(`proto: more than ${MAX_VALUE_DEPTH} values inside one another`);
}

/** An id or packed numbers. */
function checkBytes(bytes: Uint8Array, from: number, to: number, rule: number, message: number, field: number): void {
  const length = to - from;
  switch (rule) {
    case TRACE_ID:
      if (length !== 16 && length !== 0) throw new WireError("unmarshal: invalid TraceID length");
      break;
    case SPAN_ID:
      if (length !== 8 && length !== 0) throw new WireError("unmarshal: invalid SpanID length");
      break;
    case PACKED_FIXED64:
      if (length % 8 !== 0)
        throw new WireError(`proto: invalid field len = ${length % 8} for field ${goName(message, field)}`);
      break;
    case PACKED_VARINT:
      for (let at = from; at < to; ) at = skipVarint(bytes, at, to);
      break;
  }
}

/** The long way: a tag of several bytes, an unknown field, or a wrong wire type. Returns where the field ends. */
function checkOther(bytes: Uint8Array, from: number, at: number, to: number, message: number, depth: number): number {
  const field = readTag(bytes, from, at, to);
  const wire = tagWire;
  const valueAt = varintEnd;
  // A tag may be spelled with more bytes than it needs.
  const near = field < 16 ? (rules[message * 128 + field * 8 + wire] as number) : 0;
  const far = near === 0 ? farRules.get(message * 2 ** 32 + field) : { rule: near, wire };
  if (far === undefined || far.wire !== wire) {
    const name = goName(message, field);
    if (name) throw new WireError(`proto: wrong wireType = ${wire} for field ${name}`);
    return skipField(bytes, from, valueAt, to, wire);
  }
  const end = skipField(bytes, from, valueAt, to, wire);
  const start = varintEnd;
  if (far.rule >= CHILD) {
    const before = items;
    const child = far.rule - CHILD;
    items += isItem[child] as number;
    if (child === ANY_VALUE) checkDepth(depth);
    checkMessage(bytes, start, end, child, child === ANY_VALUE ? depth + 1 : depth);
    if (field === DEPRECATED_SCOPES) {
      deprecatedItems += items - before;
      items = before;
    }
  } else if (wire === LEN && far.rule !== ANY_LEN) checkBytes(bytes, start, end, far.rule, message, field);
  return end;
}

function hasField(bytes: Uint8Array, from: number, to: number, field: number): boolean {
  const cursor = new WireCursor(bytes, from, to);
  while (cursor.next()) if (cursor.field === field) return true;
  return false;
}

/** A field's name as the Collector's messages spell it: TraceId. */
function goName(message: number, field: number): string | undefined {
  const spec = fieldsOf(names[message] as MessageName).find(([number]) => number === field);
  return spec?.[1].replace(/(?:^|_)(\w)/g, (_, letter: string) => letter.toUpperCase());
}
