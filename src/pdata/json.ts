import { JsonReader } from "./json-reader.ts";
import { jsonMessage } from "./json-schema.ts";
import type { Signal } from "./payload.ts";
import { type Spelling, toPlain } from "./plain.ts";
import { REQUEST } from "./schema.ts";

export { JsonError } from "./json-error.ts";

const reader = new JsonReader();

/**
 * Encodes an export request that is spelled in OTLP JSON (OTLP 1.11, "JSON Protobuf Encoding"). As lenient as the
 * Collector: keys in lowerCamelCase or as in proto/, unknown ones ignored, null is absent; 64-bit integers as strings or
 * bare numbers, exact either way; enums as numbers or names; ids as hex in either case, "" for none; doubles also as
 * strings, with NaN and Infinity; bytes as base64. Of a repeated key the last value counts; elements of repeated fields
 * add up. At most MAX_VALUE_DEPTH values inside one another. Unlike the Collector it takes nothing after the object.
 *
 * The result is well-formed, but its items are not counted.
 * @throws JsonError that names the path, what was wanted and what was found
 */
export function jsonToProto(signal: Signal, bytes: Uint8Array): Buffer {
  return reader.read(jsonMessage(REQUEST[signal]), bytes);
}

/** 64-bit integers as decimal strings, bytes as base64, doubles that JSON.stringify would lose (NaN, infinities, -0) as strings. */
const JSON_SPELLING: Spelling = {
  integer: String,
  bytes: (value) => value.toString("base64"),
  double: (value) => (Object.is(value, -0) ? "-0" : Number.isFinite(value) ? value : String(value)),
};

/**
 * Spells an encoded export request in OTLP JSON: lowerCamelCase keys, ids as lower-case hex, enums as numbers, fields
 * with their default left out. Unknown fields are lost; broken UTF-8 becomes U+FFFD.
 * @throws WireError as countItems does
 */
export function protoToJson(signal: Signal, bytes: Uint8Array): string {
  return JSON.stringify(toPlain(signal, bytes, JSON_SPELLING));
}
