import fc from "fast-check";
import protobuf from "protobufjs";
import type { Signal } from "../../src/pdata/payload.ts";
import { protoRoot } from "./proto.ts";

const root = protoRoot();

/** The type of an export request in protobufjs: the second opinion on our own codecs. */
export function requestType(signal: Signal): protobuf.Type {
  const name = { traces: "Trace", metrics: "Metrics", logs: "Logs" }[signal];
  return root.lookupType(
    `opentelemetry.proto.collector.${signal === "traces" ? "trace" : signal}.v1.Export${name}ServiceRequest`,
  );
}

/** Encodes an object of lowerCamelCase fields with protobufjs; 64-bit numbers as decimal strings. */
export function encodeWithProtobufjs(signal: Signal, request: object): Buffer {
  const type = requestType(signal);
  return Buffer.from(type.encode(type.fromObject(request)).finish());
}

/**
 * What protobufjs reads in a request, in one form for all encodings that mean the same: 64-bit numbers as decimal
 * strings, bytes as hex, NaN and infinities as text; fields with their default and empty messages left out, unless in a
 * oneof or `optional`; ids of zeros only left out.
 */
export function decodeWithProtobufjs(signal: Signal, bytes: Uint8Array): unknown {
  const type = requestType(signal);
  return meaning(type, type.toObject(type.decode(bytes), { longs: String }));
}

function meaning(type: protobuf.Type, object: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    const raw = object[field.name];
    if (raw === undefined) continue;
    const value = Array.isArray(raw) ? raw.map((element) => meaningOf(field, element)) : meaningOf(field, raw);
    if (field.partOf === null && isNothing(field, value)) continue;
    out[field.name] = value;
  }
  return out;
}

function meaningOf(field: protobuf.Field, value: unknown): unknown {
  if (field.resolvedType instanceof protobuf.Type) return meaning(field.resolvedType, value as Record<string, unknown>);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  return typeof value === "number" ? (Number.isFinite(value) ? value + 0 : String(value)) : value;
}

function isNothing(field: protobuf.Field, value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value === "object") return Object.keys(value as object).length === 0;
  if (field.type === "bytes") return /^0*$/.test(value as string);
  return value === 0 || value === "0" || value === "" || value === false;
}

/** Any request of the signal, as `encodeWithProtobufjs` takes it: every field of proto/ may be there, ids are of a legal length. */
export function anyRequest(signal: Signal): fc.Arbitrary<Record<string, unknown>> {
  return message(requestType(signal), 0);
}

/** Values may hold values; this far down they no longer do. */
const DEEPEST = 10;

const made = new Map<string, fc.Arbitrary<Record<string, unknown>>>();

function message(type: protobuf.Type, depth: number): fc.Arbitrary<Record<string, unknown>> {
  const key = `${type.fullName} ${depth}`;
  const known = made.get(key);
  if (known) return known;
  const fields: Record<string, fc.Arbitrary<unknown>> = {};
  for (const field of type.fieldsArray) {
    if (depth >= DEEPEST && field.resolvedType instanceof protobuf.Type) continue;
    const single = value(field, depth);
    fields[field.name] = field.repeated ? fc.array(single, { maxLength: depth > 3 ? 2 : 3 }) : single;
  }
  const arbitrary = fc.record(fields, { requiredKeys: [] }).chain((record) => oneOfEach(type, record));
  made.set(key, arbitrary);
  return arbitrary;
}

/** Of each oneof that has several members in `record`, keeps one. */
function oneOfEach(type: protobuf.Type, record: Record<string, unknown>): fc.Arbitrary<Record<string, unknown>> {
  const rivals = type.oneofsArray
    .map((oneof) => oneof.oneof.filter((name) => name in record))
    .filter((n) => n.length > 1);
  return fc.tuple(...rivals.map((names) => fc.constantFrom(...names))).map((kept) => {
    const losers = rivals.flatMap((names, i) => names.filter((name) => name !== kept[i]));
    return Object.fromEntries(Object.entries(record).filter(([name]) => !losers.includes(name)));
  });
}

function value(field: protobuf.Field, depth: number): fc.Arbitrary<unknown> {
  if (field.resolvedType instanceof protobuf.Type) return message(field.resolvedType, depth + 1);
  if (field.resolvedType instanceof protobuf.Enum) return enumValue;
  if (field.type === "bytes" && field.name !== "bytesValue") return field.name === "traceId" ? traceId : spanId;
  const scalar = SCALARS[field.type];
  if (scalar === undefined) throw new Error(`no arbitrary for ${field.type} (${field.fullName})`);
  return scalar;
}

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const uint32 = fc.nat(2 ** 32 - 1);
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
const enumValue = fc.oneof(fc.nat(25), int32);
const traceId = idOf(16);
const spanId = idOf(8);

const SCALARS: Record<string, fc.Arbitrary<unknown>> = {
  string: fc.oneof(
    fc.string({ unit: "binary", maxLength: 12 }),
    fc.constantFrom("", "service.name", '"\\\n\u0001\u007f\u2028é😀'),
  ),
  bytes: fc.uint8Array({ maxLength: 12 }),
  bool: fc.boolean(),
  double: fc.oneof(
    fc.double(),
    fc.constantFrom(0, -0, 1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
  ),
  int32,
  sint32: int32,
  uint32,
  fixed32: uint32,
  int64,
  sfixed64: int64,
  uint64,
  fixed64: uint64,
};

function idOf(size: number): fc.Arbitrary<Uint8Array> {
  return fc.oneof(fc.constant(new Uint8Array()), fc.uint8Array({ minLength: size, maxLength: size }));
}
