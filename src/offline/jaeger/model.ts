/**
 * Traces as Jaeger's query API (/api/traces) and its UI's upload spell them, into OTLP's model. Fields: jaeger's
 * model/json/model.go; how OTLP becomes tags: jaeger's internal/jptrace and otlp2jaeger, as 1.56 and 2.x answer.
 */
import { createHash } from "node:crypto";
import {
  type AttributeValue,
  type KeyValue,
  type Resource,
  type ResourceSpans,
  type Scope,
  SPAN_KIND,
  type SpanData,
  type SpanEvent,
  STATUS_CODE,
} from "../../pdata/model.ts";

/** A tag of a span, a process or a log. `int64` beyond 2^53 is a string. */
export interface JaegerTag {
  readonly key: string;
  readonly type?: string;
  readonly value: unknown;
}

export interface JaegerReference {
  readonly refType: string;
  readonly traceID: string;
  readonly spanID: string;
}

/** Times are microseconds since 1970. */
export interface JaegerSpan {
  readonly traceID: string;
  readonly spanID: string;
  readonly operationName: string;
  readonly references?: readonly JaegerReference[] | null;
  readonly startTime: number;
  readonly duration: number;
  readonly tags?: readonly JaegerTag[] | null;
  readonly logs?: readonly { readonly timestamp: unknown; readonly fields?: readonly JaegerTag[] | null }[] | null;
  readonly processID: string;
}

export interface JaegerTrace {
  readonly traceID: string;
  readonly spans: readonly JaegerSpan[];
  readonly processes: Readonly<
    Record<string, { readonly serviceName: string; readonly tags?: readonly JaegerTag[] | null }>
  >;
}

/** An answer of /api/traces, a file of the UI's upload. */
export interface JaegerDocument {
  readonly data: readonly JaegerTrace[];
}

/** True for an object with a list of traces in `data`. */
export function isJaegerDocument(value: unknown): value is JaegerDocument {
  const data = (value as { data?: unknown } | null)?.data;
  return Array.isArray(data) && data.every((trace) => Array.isArray((trace as { spans?: unknown } | null)?.spans));
}

/** Tags that stand for a field of the span; the rest are attributes. */
const FIELD_TAGS: ReadonlySet<string> = new Set([
  "span.kind",
  "otel.status_code",
  "otel.status_description",
  "w3c.tracestate",
  "otel.scope.name",
  "otel.scope.version",
  "internal.span.format",
]);
/** Where 1.x puts the scope: beside the resource. */
const SCOPE_TAGS: ReadonlySet<string> = new Set(["otel.library.name", "otel.library.version"]);

const KINDS: Readonly<Record<string, number>> = {
  internal: SPAN_KIND.INTERNAL,
  server: SPAN_KIND.SERVER,
  client: SPAN_KIND.CLIENT,
  producer: SPAN_KIND.PRODUCER,
  consumer: SPAN_KIND.CONSUMER,
};

/** All spans of a document, one ResourceSpans a trace and process. Ids of another form (log_to_jaeger.py's) are hashed into OTLP's. */
export function resourceSpansOf(document: JaegerDocument): ResourceSpans[] {
  return document.data.flatMap(({ spans, processes }) => {
    const groups = new Map<string, ResourceSpans>();
    for (const span of spans) {
      const scope = scopeOf(span, processes[span.processID]?.tags);
      const key = `${span.processID}\n${scope.name}\n${scope.version}`;
      let group = groups.get(key);
      if (!group) {
        const process = processes[span.processID];
        const resource = resourceOf(process?.serviceName ?? "", process?.tags);
        group = { resource, scopeSpans: [{ scope, spans: [], schemaUrl: "" }], schemaUrl: "" };
        groups.set(key, group);
      }
      group.scopeSpans[0]?.spans.push(spanOf(span));
    }
    return [...groups.values()];
  });
}

function resourceOf(serviceName: string, tags: readonly JaegerTag[] | null | undefined): Resource {
  const attributes: KeyValue[] = [{ key: "service.name", value: serviceName }];
  for (const tag of tags ?? []) if (!SCOPE_TAGS.has(tag.key)) attributes.push({ key: tag.key, value: tagValue(tag) });
  return { attributes, droppedAttributesCount: 0 };
}

function scopeOf(span: JaegerSpan, process: readonly JaegerTag[] | null | undefined): Scope {
  const told = (key: string): string => {
    const found =
      span.tags?.find((tag) => tag.key === `otel.scope.${key}`) ??
      process?.find((tag) => tag.key === `otel.library.${key}`);
    return found === undefined ? "" : String(found.value);
  };
  return { name: told("name"), version: told("version"), attributes: [], droppedAttributesCount: 0 };
}

function spanOf(span: JaegerSpan): SpanData {
  const tag = (key: string): unknown => span.tags?.find((other) => other.key === key)?.value;
  const references = (span.references ?? []).map((reference) => ({
    refType: reference.refType,
    traceId: hexOf(reference.traceID, 32),
    spanId: hexOf(reference.spanID, 16),
  }));
  const traceId = hexOf(span.traceID, 32);
  const parent = references.find((other) => other.refType === "CHILD_OF" && other.traceId === traceId);
  const links = references.filter((other) => other !== parent);
  const startUnixNano = nanos(span.startTime);
  const failed = tag("otel.status_code") === "ERROR" || tag("error") === true;
  return {
    traceId,
    spanId: hexOf(span.spanID, 16),
    parentSpanId: parent?.spanId ?? "",
    traceState: text(tag("w3c.tracestate")),
    flags: 0,
    name: span.operationName,
    kind: KINDS[text(tag("span.kind"))] ?? SPAN_KIND.UNSPECIFIED,
    startUnixNano,
    endUnixNano: startUnixNano + nanos(Math.max(0, span.duration)),
    attributes: (span.tags ?? [])
      .filter(({ key, value }) => !FIELD_TAGS.has(key) && !(key === "error" && value === true))
      .map((entry) => ({ key: entry.key, value: tagValue(entry) })),
    droppedAttributesCount: 0,
    events: (span.logs ?? []).flatMap(eventOf),
    droppedEventsCount: 0,
    links: links.map((link) => ({
      traceId: link.traceId,
      spanId: link.spanId,
      traceState: "",
      attributes: [],
      droppedAttributesCount: 0,
      flags: 0,
    })),
    droppedLinksCount: 0,
    status: {
      code: failed ? STATUS_CODE.ERROR : tag("otel.status_code") === "OK" ? STATUS_CODE.OK : STATUS_CODE.UNSET,
      message: text(tag("otel.status_description")),
    },
  };
}

/** A log with a time is an event; log_to_jaeger.py's summaries have a sentence there. */
function eventOf(log: NonNullable<JaegerSpan["logs"]>[number]): SpanEvent[] {
  const fields = log.fields ?? [];
  if (typeof log.timestamp !== "number" || fields.length === 0) return [];
  const name = fields.find(({ key }) => key === "event");
  return [
    {
      timeUnixNano: nanos(log.timestamp),
      name: text(name?.value),
      attributes: fields.filter((field) => field !== name).map((tag) => ({ key: tag.key, value: tagValue(tag) })),
      droppedAttributesCount: 0,
    },
  ];
}

function tagValue({ type, value }: JaegerTag): AttributeValue {
  if (type === "int64" && (typeof value === "string" ? /^-?\d{1,19}$/.test(value) : Number.isInteger(value)))
    return BigInt(value as string | number);
  if (typeof value === "string") return type === "binary" ? Buffer.from(value, "base64") : value;
  if (typeof value === "boolean" || typeof value === "number") return value;
  return JSON.stringify(value ?? "");
}

/** Microseconds, as JSON has them, in nanoseconds. */
function nanos(micros: number): bigint {
  return Number.isFinite(micros) ? BigInt(Math.max(0, Math.round(micros))) * 1000n : 0n;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** An id as so many hex digits. Jaeger leaves leading zeros out; what is no hex number is hashed. */
function hexOf(id: string, digits: number): string {
  if (/^[0-9a-f]{1,32}$/i.test(id) && id.length <= digits) return id.toLowerCase().padStart(digits, "0");
  return createHash("sha256").update(id).digest("hex").slice(0, digits);
}
