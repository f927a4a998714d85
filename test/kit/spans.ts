import type protobuf from "protobufjs";
import { LEN, WireCursor } from "../../src/pdata/wire.ts";
import { protoRoot } from "./proto.ts";

/** An attribute's value: int64 as bigint, so that none is rounded. */
export type SeenValue =
  | string
  | boolean
  | number
  | bigint
  | Uint8Array
  | SeenValue[]
  | { [key: string]: SeenValue }
  | null;

/** One span with its surroundings. Ids are lower-case hex, "" where there is none. */
export interface SeenSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  readonly flags: number;
  readonly traceState: string;
  readonly startUnixNano: bigint;
  readonly endUnixNano: bigint;
  readonly attributes: Readonly<Record<string, SeenValue>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly events: readonly { readonly name: string }[];
  readonly statusCode: number;
  readonly statusMessage: string;
  readonly resource: Readonly<Record<string, SeenValue>>;
  readonly scopeName: string;
  /** The encoded Span as it came. */
  readonly raw: Buffer;
  /** The encoded Resource and InstrumentationScope around it, and both schema URLs. */
  readonly around: {
    readonly resource: Buffer;
    readonly scope: Buffer;
    readonly schemaUrls: readonly [string, string];
  };
}

interface Long {
  toString(): string;
}
interface AnyValue {
  readonly value?: string;
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly intValue?: Long;
  readonly doubleValue?: number;
  readonly arrayValue?: { values: AnyValue[] };
  readonly kvlistValue?: { values: KeyValue[] };
  readonly bytesValue?: Uint8Array;
}
interface KeyValue {
  readonly key: string;
  readonly value?: AnyValue;
}
interface SpanMessage {
  readonly traceId: Uint8Array;
  readonly spanId: Uint8Array;
  readonly parentSpanId: Uint8Array;
  readonly name: string;
  readonly kind: number;
  readonly flags: number;
  readonly traceState: string;
  readonly startTimeUnixNano: Long;
  readonly endTimeUnixNano: Long;
  readonly attributes: KeyValue[];
  readonly links: { traceId: Uint8Array; spanId: Uint8Array }[];
  readonly events: { name: string }[];
  readonly status?: { code: number; message: string };
}

const types = protoRoot();
const decoder = (name: string): protobuf.Type => types.lookupType(`opentelemetry.proto.${name}`);
const spanType = decoder("trace.v1.Span");
const resourceType = decoder("resource.v1.Resource");
const scopeType = decoder("common.v1.InstrumentationScope");

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

function seenValue(any: AnyValue | undefined): SeenValue {
  switch (any?.value) {
    case "stringValue":
      return any.stringValue ?? "";
    case "boolValue":
      return any.boolValue ?? false;
    case "intValue":
      return BigInt(any.intValue?.toString() ?? 0);
    case "doubleValue":
      return any.doubleValue ?? 0;
    case "arrayValue":
      return (any.arrayValue?.values ?? []).map(seenValue);
    case "kvlistValue":
      return attributesOf(any.kvlistValue?.values ?? []);
    case "bytesValue":
      return any.bytesValue ?? new Uint8Array();
    default:
      return null;
  }
}

function attributesOf(list: readonly KeyValue[]): Record<string, SeenValue> {
  return Object.fromEntries(list.map(({ key, value }) => [key, seenValue(value)]));
}

/** The LEN fields numbered `field` of a message, as views. */
function parts(message: Buffer, field: number): Buffer[] {
  const found: Buffer[] = [];
  const cursor = new WireCursor(message);
  while (cursor.next())
    if (cursor.field === field && cursor.wire === LEN) found.push(message.subarray(cursor.valueStart, cursor.valueEnd));
  return found;
}

/**
 * Every span of an encoded ExportTraceServiceRequest, in order. Decoded by protobufjs on proto/, not by the program's own
 * code. @throws when the bytes are not one
 */
export function readSpans(request: Uint8Array): SeenSpan[] {
  const spans: SeenSpan[] = [];
  const empty = Buffer.alloc(0);
  // ExportTraceServiceRequest.resource_spans=1; ResourceSpans.resource=1, scope_spans=2, schema_url=3; ScopeSpans.scope=1, spans=2, schema_url=3.
  for (const resourceSpans of parts(Buffer.from(request), 1)) {
    const resource = parts(resourceSpans, 1)[0] ?? empty;
    const attributes = attributesOf(
      (resourceType.decode(resource) as unknown as { attributes: KeyValue[] }).attributes,
    );
    for (const scopeSpans of parts(resourceSpans, 2)) {
      const scope = parts(scopeSpans, 1)[0] ?? empty;
      const around = {
        resource,
        scope,
        schemaUrls: [String(parts(resourceSpans, 3)[0] ?? ""), String(parts(scopeSpans, 3)[0] ?? "")] as const,
      };
      const scopeName = (scopeType.decode(scope) as unknown as { name: string }).name;
      for (const raw of parts(scopeSpans, 2)) {
        const span = spanType.decode(raw) as unknown as SpanMessage;
        spans.push({
          traceId: hex(span.traceId),
          spanId: hex(span.spanId),
          parentSpanId: hex(span.parentSpanId),
          name: span.name,
          kind: span.kind,
          flags: span.flags,
          traceState: span.traceState,
          startUnixNano: BigInt(span.startTimeUnixNano.toString()),
          endUnixNano: BigInt(span.endTimeUnixNano.toString()),
          attributes: attributesOf(span.attributes),
          links: span.links.map((link) => ({ traceId: hex(link.traceId), spanId: hex(link.spanId) })),
          events: span.events,
          statusCode: span.status?.code ?? 0,
          statusMessage: span.status?.message ?? "",
          resource: attributes,
          scopeName,
          raw,
          around,
        });
      }
    }
  }
  return spans;
}
