/**
 * A trace as Jaeger's query API spells it, which is what the UI's upload reads: 16-hex span ids, a process a resource,
 * OTLP's fields as the tags that Jaeger 2 makes of them (test/peers/offline.test.ts compares).
 */
import {
  type AttributeValue,
  type KeyValue,
  type ResourceSpans,
  type SpanData,
  STATUS_CODE,
} from "../../pdata/model.ts";

/** Jaeger's name for a resource without service.name. */
const NO_SERVICE = "missing-service-name";
const KINDS = ["", "internal", "server", "client", "producer", "consumer"] as const;
const CHILD_OF = "CHILD_OF";
const FOLLOWS_FROM = "FOLLOWS_FROM";

/** The trace as one JSON object, without a line feed. All spans must be of that trace. */
export function traceText(traceId: string, resourceSpans: readonly ResourceSpans[]): string {
  const processes = new Map<string, string>();
  let spans = "";
  for (const { resource, scopeSpans } of resourceSpans) {
    const process = processText(resource.attributes);
    let processId = processes.get(process);
    if (processId === undefined) {
      processId = `p${processes.size + 1}`;
      processes.set(process, processId);
    }
    for (const { scope, spans: list } of scopeSpans) {
      const scopeTags =
        scope.name === "" && scope.version === ""
          ? ""
          : tag("otel.scope.name", "string", quoted(scope.name)) +
            (scope.version === "" ? "" : tag("otel.scope.version", "string", quoted(scope.version)));
      for (const span of list) spans += `${spans === "" ? "" : ","}${spanText(span, processId, scopeTags)}`;
    }
  }
  const listed = [...processes].map(([process, id]) => `"${id}":${process}`).join(",");
  return `{"traceID":"${traceId}","spans":[${spans}],"processes":{${listed}},"warnings":null}`;
}

function processText(attributes: readonly KeyValue[]): string {
  let service = NO_SERVICE;
  let tags = "";
  for (const { key, value } of attributes) {
    if (key === "service.name" && typeof value === "string" && value !== "") service = value;
    else tags += attributeTag(key, value);
  }
  return `{"serviceName":${quoted(service)},"tags":[${tags.slice(1)}]}`;
}

function spanText(span: SpanData, processId: string, scopeTags: string): string {
  const startUs = micros(span.startUnixNano);
  const lasts = span.endUnixNano > span.startUnixNano ? span.endUnixNano - span.startUnixNano : 0n;
  let tags = "";
  for (const { key, value } of span.attributes) tags += attributeTag(key, value);
  const kind = KINDS[span.kind];
  if (kind) tags += tag("span.kind", "string", `"${kind}"`);
  tags += statusTags(span) + scopeTags;
  if (span.traceState !== "") tags += tag("w3c.tracestate", "string", quoted(span.traceState));
  return `{"traceID":"${span.traceId}","spanID":"${span.spanId}","operationName":${quotedName(span.name)},"references":[${references(span)}],"startTime":${startUs},"duration":${micros(lasts)},"tags":[${tags.slice(1)}],"logs":[${logs(span)}],"processID":"${processId}","warnings":null}`;
}

function statusTags({ status: { code, message } }: SpanData): string {
  if (code === STATUS_CODE.OK) return tag("otel.status_code", "string", '"OK"');
  if (code !== STATUS_CODE.ERROR) return "";
  return (
    tag("otel.status_code", "string", '"ERROR"') +
    tag("error", "bool", "true") +
    (message === "" ? "" : tag("otel.status_description", "string", quoted(message)))
  );
}

function references(span: SpanData): string {
  let out = span.parentSpanId === "" ? "" : reference(CHILD_OF, span.traceId, span.parentSpanId);
  for (const link of span.links) out += `${out === "" ? "" : ","}${reference(FOLLOWS_FROM, link.traceId, link.spanId)}`;
  return out;
}

function reference(type: string, traceId: string, spanId: string): string {
  return `{"refType":"${type}","traceID":"${traceId}","spanID":"${spanId}"}`;
}

function logs(span: SpanData): string {
  return span.events
    .map((event) => {
      let fields = event.name === "" ? "" : tag("event", "string", quoted(event.name));
      for (const { key, value } of event.attributes) fields += attributeTag(key, value);
      return `{"timestamp":${micros(event.timeUnixNano)},"fields":[${fields.slice(1)}]}`;
    })
    .join(",");
}

/** Each tag begins with a comma; the first one's is cut. */
function tag(key: string, type: string, value: string): string {
  return `${tagHead(key, type)}${value}}`;
}

/** What stands in front of a tag's value, by type and key: the same few again and again. */
const heads = new Map<string, Map<string, string>>();

function tagHead(key: string, type: string): string {
  let ofType = heads.get(type);
  if (!ofType) {
    ofType = new Map();
    heads.set(type, ofType);
  }
  let head = ofType.get(key);
  if (head === undefined) {
    head = `,{"key":${quoted(key)},"type":"${type}","value":`;
    if (ofType.size < MOST_KNOWN) ofType.set(key, head);
  }
  return head;
}

function attributeTag(key: string, value: AttributeValue): string {
  switch (typeof value) {
    case "string":
      return tag(key, "string", quoted(value));
    case "boolean":
      return tag(key, "bool", String(value));
    case "bigint":
      return tag(key, "int64", isSafe(value) ? String(value) : `"${value}"`);
    case "number":
      return Number.isFinite(value) ? tag(key, "float64", String(value)) : tag(key, "string", `"${value}"`);
    default:
      if (value === null) return tag(key, "string", '""');
      if (value instanceof Uint8Array) return tag(key, "binary", `"${Buffer.from(value).toString("base64")}"`);
      return tag(key, "string", quoted(JSON.stringify(plain(value))));
  }
}

/** Lists and maps become JSON in a string. */
function plain(value: AttributeValue): unknown {
  if (typeof value === "bigint") return isSafe(value) ? Number(value) : String(value);
  if (value === null || typeof value !== "object") return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if ("kvlist" in value) return Object.fromEntries(value.kvlist.map(({ key, value: inner }) => [key, plain(inner)]));
  return value.map(plain);
}

function isSafe(value: bigint): boolean {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER;
}

/** Microseconds, rounded down as Jaeger does. */
function micros(nanos: bigint): number {
  return Number(nanos / 1000n);
}

/** Names, which come again and again, as JSON. */
const known = new Map<string, string>();
const MOST_KNOWN = 4096;

function quotedName(text: string): string {
  let json = known.get(text);
  if (json === undefined) {
    json = quoted(text);
    if (known.size < MOST_KNOWN) known.set(text, json);
  }
  return json;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
