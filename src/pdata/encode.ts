import { fromHex } from "./ids.ts";
import type {
  AttributeValue,
  KeyValue,
  LogRecordData,
  Resource,
  ResourceLogs,
  ResourceSpans,
  Scope,
  ScopeLogs,
  ScopeSpans,
  SpanData,
  SpanEvent,
  SpanLink,
  SpanStatus,
  Sparse,
} from "./model.ts";
import { WireWriter } from "./wire.ts";

/**
 * Writes an ExportTraceServiceRequest as protobufjs does: fields in the order of their numbers, defaults left out.
 * @throws RangeError for an id that is no hex of the right length, or a number out of its type's range
 */
export function encodeTraces(resourceSpans: readonly Sparse<ResourceSpans>[]): Buffer {
  const writer = new WireWriter();
  for (const resource of resourceSpans) writer.message(1, () => writeResourceSpans(writer, resource));
  return writer.finish();
}

/** Writes an ExportLogsServiceRequest; otherwise as encodeTraces. */
export function encodeLogs(resourceLogs: readonly Sparse<ResourceLogs>[]): Buffer {
  const writer = new WireWriter();
  for (const resource of resourceLogs) writer.message(1, () => writeResourceLogs(writer, resource));
  return writer.finish();
}

function writeResourceSpans(writer: WireWriter, { resource, scopeSpans, schemaUrl }: Sparse<ResourceSpans>): void {
  if (resource) writer.message(1, () => writeResource(writer, resource));
  for (const scope of scopeSpans ?? []) writer.message(2, () => writeScopeSpans(writer, scope));
  writeString(writer, 3, schemaUrl);
}

function writeResourceLogs(writer: WireWriter, { resource, scopeLogs, schemaUrl }: Sparse<ResourceLogs>): void {
  if (resource) writer.message(1, () => writeResource(writer, resource));
  for (const scope of scopeLogs ?? []) writer.message(2, () => writeScopeLogs(writer, scope));
  writeString(writer, 3, schemaUrl);
}

function writeResource(writer: WireWriter, resource: Sparse<Resource>): void {
  writeAttributes(writer, 1, resource.attributes);
  writeUint(writer, 2, resource.droppedAttributesCount);
}

function writeScope(writer: WireWriter, scope: Sparse<Scope>): void {
  writeString(writer, 1, scope.name);
  writeString(writer, 2, scope.version);
  writeAttributes(writer, 3, scope.attributes);
  writeUint(writer, 4, scope.droppedAttributesCount);
}

function writeScopeSpans(writer: WireWriter, { scope, spans, schemaUrl }: Sparse<ScopeSpans>): void {
  if (scope) writer.message(1, () => writeScope(writer, scope));
  for (const span of spans ?? []) writer.message(2, () => writeSpan(writer, span));
  writeString(writer, 3, schemaUrl);
}

function writeScopeLogs(writer: WireWriter, { scope, logRecords, schemaUrl }: Sparse<ScopeLogs>): void {
  if (scope) writer.message(1, () => writeScope(writer, scope));
  for (const record of logRecords ?? []) writer.message(2, () => writeLogRecord(writer, record));
  writeString(writer, 3, schemaUrl);
}

function writeSpan(writer: WireWriter, span: Sparse<SpanData>): void {
  writeId(writer, 1, span.traceId, 16);
  writeId(writer, 2, span.spanId, 8);
  writeString(writer, 3, span.traceState);
  writeId(writer, 4, span.parentSpanId, 8);
  writeString(writer, 5, span.name);
  writeInt32(writer, 6, span.kind);
  writeFixed64(writer, 7, span.startUnixNano);
  writeFixed64(writer, 8, span.endUnixNano);
  writeAttributes(writer, 9, span.attributes);
  writeUint(writer, 10, span.droppedAttributesCount);
  for (const event of span.events ?? []) writer.message(11, () => writeEvent(writer, event));
  writeUint(writer, 12, span.droppedEventsCount);
  for (const link of span.links ?? []) writer.message(13, () => writeLink(writer, link));
  writeUint(writer, 14, span.droppedLinksCount);
  const { status } = span;
  if (status?.code || status?.message) writer.message(15, () => writeStatus(writer, status));
  writeFixed32(writer, 16, span.flags);
}

function writeEvent(writer: WireWriter, event: Sparse<SpanEvent>): void {
  writeFixed64(writer, 1, event.timeUnixNano);
  writeString(writer, 2, event.name);
  writeAttributes(writer, 3, event.attributes);
  writeUint(writer, 4, event.droppedAttributesCount);
}

function writeLink(writer: WireWriter, link: Sparse<SpanLink>): void {
  writeId(writer, 1, link.traceId, 16);
  writeId(writer, 2, link.spanId, 8);
  writeString(writer, 3, link.traceState);
  writeAttributes(writer, 4, link.attributes);
  writeUint(writer, 5, link.droppedAttributesCount);
  writeFixed32(writer, 6, link.flags);
}

function writeStatus(writer: WireWriter, status: Sparse<SpanStatus>): void {
  writeString(writer, 2, status.message);
  writeInt32(writer, 3, status.code);
}

function writeLogRecord(writer: WireWriter, record: Sparse<LogRecordData>): void {
  writeFixed64(writer, 1, record.timeUnixNano);
  writeInt32(writer, 2, record.severityNumber);
  writeString(writer, 3, record.severityText);
  const { body } = record;
  if (body !== undefined && body !== null) writer.message(5, () => writeAnyValue(writer, body));
  writeAttributes(writer, 6, record.attributes);
  writeUint(writer, 7, record.droppedAttributesCount);
  writeFixed32(writer, 8, record.flags);
  writeId(writer, 9, record.traceId, 16);
  writeId(writer, 10, record.spanId, 8);
  writeFixed64(writer, 11, record.observedUnixNano);
  writeString(writer, 12, record.eventName);
}

function writeAttributes(writer: WireWriter, field: number, attributes: readonly KeyValue[] | undefined): void {
  for (const { key, value } of attributes ?? [])
    writer.message(field, () => {
      writeString(writer, 1, key);
      writer.message(2, () => writeAnyValue(writer, value));
    });
}

function writeAnyValue(writer: WireWriter, value: AttributeValue): void {
  switch (typeof value) {
    case "string":
      writer.string(1, value);
      break;
    case "boolean":
      writer.uint(2, value ? 1 : 0);
      break;
    case "bigint":
      writer.int64(3, inRange(value, -(2n ** 63n), 2n ** 63n - 1n));
      break;
    case "number":
      writer.double(4, value);
      break;
    default:
      if (value instanceof Uint8Array) writer.bytes(7, value);
      else if (value === null) return;
      else if ("kvlist" in value) writer.message(6, () => writeAttributes(writer, 1, value.kvlist));
      else
        writer.message(5, () => {
          for (const element of value) writer.message(1, () => writeAnyValue(writer, element));
        });
  }
}

function writeId(writer: WireWriter, field: number, hex: string | undefined, size: number): void {
  if (!hex) return;
  const bytes = fromHex(hex);
  if (bytes?.length !== size) throw new RangeError(`not an id of ${size} bytes in hex: ${JSON.stringify(hex)}`);
  writer.bytes(field, bytes);
}

function writeString(writer: WireWriter, field: number, text: string | undefined): void {
  if (text) writer.string(field, text);
}

function writeUint(writer: WireWriter, field: number, value: number | undefined): void {
  if (value) writer.uint(field, inRange(value, 0, 2 ** 32 - 1));
}

/** int32 and enums; negative ones take ten bytes. */
function writeInt32(writer: WireWriter, field: number, value: number | undefined): void {
  if (value) writer.int64(field, BigInt(inRange(value, -(2 ** 31), 2 ** 31 - 1)));
}

function writeFixed32(writer: WireWriter, field: number, value: number | undefined): void {
  if (value) writer.fixed32(field, inRange(value, 0, 2 ** 32 - 1));
}

function writeFixed64(writer: WireWriter, field: number, value: bigint | undefined): void {
  if (value) writer.fixed64(field, inRange(value, 0n, 2n ** 64n - 1n));
}

function inRange<N extends number | bigint>(value: N, min: N, max: N): N {
  if (value < min || value > max || (typeof value === "number" && !Number.isInteger(value)))
    throw new RangeError(`${value} is not an integer from ${min} to ${max}`);
  return value;
}
