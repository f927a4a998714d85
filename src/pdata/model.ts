/**
 * OTLP as readable objects, for what must see everything: the debug exporter, the demo, offline tools, tests. The data
 * path does not use them; it carries bytes (payload.ts).
 *
 * Ids are lower-case hex and "" when absent; times are nanoseconds since 1970; an absent field has protobuf's default.
 */

/**
 * The value of an attribute, or a log's body: int64 is a bigint, double a number, `null` is a value that is empty or
 * (string table index) has no meaning outside profiles.
 */
export type AttributeValue =
  | string
  | boolean
  | bigint
  | number
  | Uint8Array
  | readonly AttributeValue[]
  | KeyValueList
  | null;

export interface KeyValueList {
  readonly kvlist: readonly KeyValue[];
}

/** Keys should be unique but need not be; the order is the sender's. */
export interface KeyValue {
  key: string;
  value: AttributeValue;
}

export interface ResourceSpans {
  resource: Resource;
  scopeSpans: ScopeSpans[];
  schemaUrl: string;
}

export interface Resource {
  attributes: KeyValue[];
  droppedAttributesCount: number;
}

export interface Scope {
  name: string;
  version: string;
  attributes: KeyValue[];
  droppedAttributesCount: number;
}

export interface ScopeSpans {
  scope: Scope;
  spans: SpanData[];
  schemaUrl: string;
}

export interface SpanData {
  traceId: string;
  spanId: string;
  /** "" for a root. */
  parentSpanId: string;
  /** The W3C tracestate header. */
  traceState: string;
  /** W3C trace flags in the low byte; 0x100: it is known whether the parent is remote, 0x200: it is. */
  flags: number;
  name: string;
  /** One of SPAN_KIND, or a number that OTLP does not know yet. */
  kind: number;
  startUnixNano: bigint;
  endUnixNano: bigint;
  attributes: KeyValue[];
  droppedAttributesCount: number;
  events: SpanEvent[];
  droppedEventsCount: number;
  links: SpanLink[];
  droppedLinksCount: number;
  status: SpanStatus;
}

export interface SpanEvent {
  timeUnixNano: bigint;
  name: string;
  attributes: KeyValue[];
  droppedAttributesCount: number;
}

export interface SpanLink {
  traceId: string;
  spanId: string;
  traceState: string;
  attributes: KeyValue[];
  droppedAttributesCount: number;
  flags: number;
}

export interface SpanStatus {
  /** One of STATUS_CODE, or a number that OTLP does not know yet. */
  code: number;
  message: string;
}

export interface ResourceLogs {
  resource: Resource;
  scopeLogs: ScopeLogs[];
  schemaUrl: string;
}

export interface ScopeLogs {
  scope: Scope;
  logRecords: LogRecordData[];
  schemaUrl: string;
}

export interface LogRecordData {
  /** When it happened; 0n when unknown. */
  timeUnixNano: bigint;
  /** When it was read. */
  observedUnixNano: bigint;
  /** 1 (TRACE) to 24 (FATAL4); 0 when unknown. */
  severityNumber: number;
  severityText: string;
  body: AttributeValue;
  attributes: KeyValue[];
  droppedAttributesCount: number;
  /** W3C trace flags in the low byte. */
  flags: number;
  traceId: string;
  spanId: string;
  eventName: string;
}

/** The values of SpanData.kind. */
export const SPAN_KIND = { UNSPECIFIED: 0, INTERNAL: 1, SERVER: 2, CLIENT: 3, PRODUCER: 4, CONSUMER: 5 } as const;

/** The values of SpanStatus.code. */
export const STATUS_CODE = { UNSET: 0, OK: 1, ERROR: 2 } as const;

/** `T` with every field optional at every level: what the encoders take. What is left out has protobuf's default. */
export type Sparse<T> = T extends AttributeValue | KeyValue
  ? T
  : T extends readonly (infer Element)[]
    ? readonly Sparse<Element>[]
    : { readonly [Field in keyof T]?: Sparse<T[Field]> };

/** The value of the first attribute with this key, `undefined` when there is none. */
export function attribute(attributes: readonly KeyValue[], key: string): AttributeValue | undefined {
  for (const entry of attributes) if (entry.key === key) return entry.value;
  return undefined;
}
