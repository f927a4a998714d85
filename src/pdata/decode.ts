import { toHex } from "./ids.ts";
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
} from "./model.ts";
import { countItems } from "./validate.ts";
import { WireCursor } from "./wire.ts";

/**
 * Reads an encoded ExportTraceServiceRequest. Unknown fields are left out, scopes of the old form (field 1000) stand in
 * where there are no others, a single message that comes in parts is merged.
 * @throws WireError as countItems does
 */
export function decodeTraces(bytes: Uint8Array): ResourceSpans[] {
  countItems("traces", bytes); // from here on every known field has its wire type
  return resources(bytes, resourceSpans);
}

/** Reads an encoded ExportLogsServiceRequest; otherwise as decodeTraces. */
export function decodeLogs(bytes: Uint8Array): ResourceLogs[] {
  countItems("logs", bytes);
  return resources(bytes, resourceLogs);
}

function resources<T>(bytes: Uint8Array, read: (cursor: WireCursor) => T): T[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cursor = new WireCursor(buffer);
  const out: T[] = [];
  while (cursor.next()) if (cursor.field === 1) out.push(read(inside(cursor)));
  return out;
}

/** A cursor of its own on the message that is the current field's value. */
function inside(cursor: WireCursor): WireCursor {
  return new WireCursor(cursor.bytes, cursor.valueStart, cursor.valueEnd);
}

function resourceSpans(cursor: WireCursor): ResourceSpans {
  const out: ResourceSpans = { resource: emptyResource(), scopeSpans: [], schemaUrl: "" };
  const old: ScopeSpans[] = [];
  while (cursor.next()) {
    switch (cursor.field) {
      case 1:
        readResource(inside(cursor), out.resource);
        break;
      case 2:
        out.scopeSpans.push(scopeSpans(inside(cursor)));
        break;
      case 3:
        out.schemaUrl = cursor.string();
        break;
      case 1000:
        old.push(scopeSpans(inside(cursor)));
        break;
    }
  }
  if (out.scopeSpans.length === 0) out.scopeSpans = old;
  return out;
}

function resourceLogs(cursor: WireCursor): ResourceLogs {
  const out: ResourceLogs = { resource: emptyResource(), scopeLogs: [], schemaUrl: "" };
  const old: ScopeLogs[] = [];
  while (cursor.next()) {
    switch (cursor.field) {
      case 1:
        readResource(inside(cursor), out.resource);
        break;
      case 2:
        out.scopeLogs.push(scopeLogs(inside(cursor)));
        break;
      case 3:
        out.schemaUrl = cursor.string();
        break;
      case 1000:
        old.push(scopeLogs(inside(cursor)));
        break;
    }
  }
  if (out.scopeLogs.length === 0) out.scopeLogs = old;
  return out;
}

function emptyResource(): Resource {
  return { attributes: [], droppedAttributesCount: 0 };
}

function readResource(cursor: WireCursor, out: Resource): void {
  while (cursor.next()) {
    if (cursor.field === 1) out.attributes.push(keyValue(inside(cursor)));
    else if (cursor.field === 2) out.droppedAttributesCount = cursor.uint32();
  }
}

function emptyScope(): Scope {
  return { name: "", version: "", attributes: [], droppedAttributesCount: 0 };
}

function readScope(cursor: WireCursor, out: Scope): void {
  while (cursor.next()) {
    switch (cursor.field) {
      case 1:
        out.name = cursor.string();
        break;
      case 2:
        out.version = cursor.string();
        break;
      case 3:
        out.attributes.push(keyValue(inside(cursor)));
        break;
      case 4:
        out.droppedAttributesCount = cursor.uint32();
        break;
    }
  }
}

function scopeSpans(cursor: WireCursor): ScopeSpans {
  const out: ScopeSpans = { scope: emptyScope(), spans: [], schemaUrl: "" };
  while (cursor.next()) {
    if (cursor.field === 1) readScope(inside(cursor), out.scope);
    else if (cursor.field === 2) out.spans.push(span(inside(cursor)));
    else if (cursor.field === 3) out.schemaUrl = cursor.string();
  }
  return out;
}

function scopeLogs(cursor: WireCursor): ScopeLogs {
  const out: ScopeLogs = { scope: emptyScope(), logRecords: [], schemaUrl: "" };
  while (cursor.next()) {
    if (cursor.field === 1) readScope(inside(cursor), out.scope);
    else if (cursor.field === 2) out.logRecords.push(logRecord(inside(cursor)));
    else if (cursor.field === 3) out.schemaUrl = cursor.string();
  }
  return out;
}

function id(cursor: WireCursor): string {
  return toHex(cursor.bytes, cursor.valueStart, cursor.valueEnd);
}

function span(cursor: WireCursor): SpanData {
  const out: SpanData = {
    traceId: "",
    spanId: "",
    parentSpanId: "",
    traceState: "",
    flags: 0,
    name: "",
    kind: 0,
    startUnixNano: 0n,
    endUnixNano: 0n,
    attributes: [],
    droppedAttributesCount: 0,
    events: [],
    droppedEventsCount: 0,
    links: [],
    droppedLinksCount: 0,
    status: { code: 0, message: "" },
  };
  while (cursor.next()) {
    switch (cursor.field) {
      case 1:
        out.traceId = id(cursor);
        break;
      case 2:
        out.spanId = id(cursor);
        break;
      case 3:
        out.traceState = cursor.string();
        break;
      case 4:
        out.parentSpanId = id(cursor);
        break;
      case 5:
        out.name = cursor.string();
        break;
      case 6:
        out.kind = cursor.uint32() | 0;
        break;
      case 7:
        out.startUnixNano = cursor.fixed64();
        break;
      case 8:
        out.endUnixNano = cursor.fixed64();
        break;
      case 9:
        out.attributes.push(keyValue(inside(cursor)));
        break;
      case 10:
        out.droppedAttributesCount = cursor.uint32();
        break;
      case 11:
        out.events.push(event(inside(cursor)));
        break;
      case 12:
        out.droppedEventsCount = cursor.uint32();
        break;
      case 13:
        out.links.push(link(inside(cursor)));
        break;
      case 14:
        out.droppedLinksCount = cursor.uint32();
        break;
      case 15:
        readStatus(inside(cursor), out.status);
        break;
      case 16:
        out.flags = cursor.fixed32();
        break;
    }
  }
  return out;
}

function event(cursor: WireCursor): SpanEvent {
  const out: SpanEvent = { timeUnixNano: 0n, name: "", attributes: [], droppedAttributesCount: 0 };
  while (cursor.next()) {
    switch (cursor.field) {
      case 1:
        out.timeUnixNano = cursor.fixed64();
        break;
      case 2:
        out.name = cursor.string();
        break;
      case 3:
        out.attributes.push(keyValue(inside(cursor)));
        break;
      case 4:
        out.droppedAttributesCount = cursor.uint32();
        break;
    }
  }
  return out;
}

function link(cursor: WireCursor): SpanLink {
  const out: SpanLink = {
    traceId: "",
    spanId: "",
    traceState: "",
    attributes: [],
    droppedAttributesCount: 0,
    flags: 0,
  };
  while (cursor.next()) {
    switch (cursor.field) {
      case 1:
        out.traceId = id(cursor);
        break;
      case 2:
        out.spanId = id(cursor);
        break;
      case 3:
        out.traceState = cursor.string();
        break;
      case 4:
        out.attributes.push(keyValue(inside(cursor)));
        break;
      case 5:
        out.droppedAttributesCount = cursor.uint32();
        break;
      case 6:
        out.flags = cursor.fixed32();
        break;
    }
  }
  return out;
}

function readStatus(cursor: WireCursor, out: SpanStatus): void {
  while (cursor.next()) {
    if (cursor.field === 2) out.message = cursor.string();
    else if (cursor.field === 3) out.code = cursor.uint32() | 0;
  }
}

function logRecord(cursor: WireCursor): LogRecordData {
  const out: LogRecordData = {
    timeUnixNano: 0n,
    observedUnixNano: 0n,
    severityNumber: 0,
    severityText: "",
    body: null,
    attributes: [],
    droppedAttributesCount: 0,
    flags: 0,
    traceId: "",
    spanId: "",
    eventName: "",
  };
  while (cursor.next()) {
    switch (cursor.field) {
      case 1:
        out.timeUnixNano = cursor.fixed64();
        break;
      case 2:
        out.severityNumber = cursor.uint32() | 0;
        break;
      case 3:
        out.severityText = cursor.string();
        break;
      case 5:
        out.body = anyValue(inside(cursor), out.body);
        break;
      case 6:
        out.attributes.push(keyValue(inside(cursor)));
        break;
      case 7:
        out.droppedAttributesCount = cursor.uint32();
        break;
      case 8:
        out.flags = cursor.fixed32();
        break;
      case 9:
        out.traceId = id(cursor);
        break;
      case 10:
        out.spanId = id(cursor);
        break;
      case 11:
        out.observedUnixNano = cursor.fixed64();
        break;
      case 12:
        out.eventName = cursor.string();
        break;
    }
  }
  return out;
}

function keyValue(cursor: WireCursor): KeyValue {
  const out: KeyValue = { key: "", value: null };
  while (cursor.next()) {
    if (cursor.field === 1) out.key = cursor.string();
    else if (cursor.field === 2) out.value = anyValue(inside(cursor), out.value);
  }
  return out;
}

/** The last member of the oneof that is present, else `before`. */
function anyValue(cursor: WireCursor, before: AttributeValue): AttributeValue {
  let value = before;
  while (cursor.next()) {
    switch (cursor.field) {
      case 1:
        value = cursor.string();
        break;
      case 2:
        value = cursor.int64() !== 0n;
        break;
      case 3:
        value = cursor.int64();
        break;
      case 4:
        value = cursor.double();
        break;
      case 5:
        value = values(inside(cursor), (element) => anyValue(element, null));
        break;
      case 6:
        value = { kvlist: values(inside(cursor), keyValue) };
        break;
      case 7:
        value = Uint8Array.from(cursor.view());
        break;
      case 8:
        value = null;
        break;
    }
  }
  return value;
}

/** ArrayValue and KeyValueList: field 1, repeated. */
function values<T>(cursor: WireCursor, read: (cursor: WireCursor) => T): T[] {
  const out: T[] = [];
  while (cursor.next()) if (cursor.field === 1) out.push(read(inside(cursor)));
  return out;
}
