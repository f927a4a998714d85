/**
 * The OTLP messages as data: what the validator and the JSON codec walk by. Equal to proto/ (schema.test.ts compares
 * them), plus what the Collector knows beyond it: ids are a type of their own, and field 1000 of ResourceSpans,
 * ResourceMetrics and ResourceLogs holds scopes as OTLP before 0.15 sent them.
 */

import type { Signal } from "./payload.ts";

export type EnumName = keyof typeof ENUMS;
export type MessageName = keyof typeof MESSAGES;

/**
 * A field: its number, its name in proto/, its type, and when it has one its rule: `repeated`, `optional` or the name of
 * its oneof. The type is a scalar of protobuf, a key of ENUMS or of MESSAGES, or `trace_id` or `span_id`: bytes fields of
 * 16 and 8 bytes, which JSON spells as hex.
 */
export type FieldSpec = readonly [number: number, name: string, type: string, rule?: string];

/** Values by name, for readers that accept names. */
export const ENUMS = {
  SpanKind: numbered("SPAN_KIND_", "UNSPECIFIED INTERNAL SERVER CLIENT PRODUCER CONSUMER"),
  StatusCode: numbered("STATUS_CODE_", "UNSET OK ERROR"),
  AggregationTemporality: numbered("AGGREGATION_TEMPORALITY_", "UNSPECIFIED DELTA CUMULATIVE"),
  SeverityNumber: numbered(
    "SEVERITY_NUMBER_",
    `UNSPECIFIED ${["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"].map((level) => `${level} ${level}2 ${level}3 ${level}4`).join(" ")}`,
  ),
} as const;

function numbered(prefix: string, names: string): ReadonlyMap<string, number> {
  return new Map(names.split(" ").map((name, value) => [prefix + name, value]));
}

export const MESSAGES = {
  AnyValue: [
    [1, "string_value", "string", "value"],
    [2, "bool_value", "bool", "value"],
    [3, "int_value", "int64", "value"],
    [4, "double_value", "double", "value"],
    [5, "array_value", "ArrayValue", "value"],
    [6, "kvlist_value", "KeyValueList", "value"],
    [7, "bytes_value", "bytes", "value"],
    [8, "string_value_strindex", "int32", "value"],
  ],
  ArrayValue: [[1, "values", "AnyValue", "repeated"]],
  KeyValueList: [[1, "values", "KeyValue", "repeated"]],
  KeyValue: [
    [1, "key", "string"],
    [2, "value", "AnyValue"],
    [3, "key_strindex", "int32"],
  ],
  InstrumentationScope: [
    [1, "name", "string"],
    [2, "version", "string"],
    [3, "attributes", "KeyValue", "repeated"],
    [4, "dropped_attributes_count", "uint32"],
  ],
  EntityRef: [
    [1, "schema_url", "string"],
    [2, "type", "string"],
    [3, "id_keys", "string", "repeated"],
    [4, "description_keys", "string", "repeated"],
  ],
  Resource: [
    [1, "attributes", "KeyValue", "repeated"],
    [2, "dropped_attributes_count", "uint32"],
    [3, "entity_refs", "EntityRef", "repeated"],
  ],

  ExportTraceServiceRequest: [[1, "resource_spans", "ResourceSpans", "repeated"]],
  ResourceSpans: [
    [1, "resource", "Resource"],
    [2, "scope_spans", "ScopeSpans", "repeated"],
    [3, "schema_url", "string"],
    [1000, "deprecated_scope_spans", "ScopeSpans", "repeated"],
  ],
  ScopeSpans: [
    [1, "scope", "InstrumentationScope"],
    [2, "spans", "Span", "repeated"],
    [3, "schema_url", "string"],
  ],
  Span: [
    [1, "trace_id", "trace_id"],
    [2, "span_id", "span_id"],
    [3, "trace_state", "string"],
    [4, "parent_span_id", "span_id"],
    [16, "flags", "fixed32"],
    [5, "name", "string"],
    [6, "kind", "SpanKind"],
    [7, "start_time_unix_nano", "fixed64"],
    [8, "end_time_unix_nano", "fixed64"],
    [9, "attributes", "KeyValue", "repeated"],
    [10, "dropped_attributes_count", "uint32"],
    [11, "events", "Event", "repeated"],
    [12, "dropped_events_count", "uint32"],
    [13, "links", "Link", "repeated"],
    [14, "dropped_links_count", "uint32"],
    [15, "status", "Status"],
  ],
  Event: [
    [1, "time_unix_nano", "fixed64"],
    [2, "name", "string"],
    [3, "attributes", "KeyValue", "repeated"],
    [4, "dropped_attributes_count", "uint32"],
  ],
  Link: [
    [1, "trace_id", "trace_id"],
    [2, "span_id", "span_id"],
    [3, "trace_state", "string"],
    [4, "attributes", "KeyValue", "repeated"],
    [5, "dropped_attributes_count", "uint32"],
    [6, "flags", "fixed32"],
  ],
  Status: [
    [2, "message", "string"],
    [3, "code", "StatusCode"],
  ],

  ExportLogsServiceRequest: [[1, "resource_logs", "ResourceLogs", "repeated"]],
  ResourceLogs: [
    [1, "resource", "Resource"],
    [2, "scope_logs", "ScopeLogs", "repeated"],
    [3, "schema_url", "string"],
    [1000, "deprecated_scope_logs", "ScopeLogs", "repeated"],
  ],
  ScopeLogs: [
    [1, "scope", "InstrumentationScope"],
    [2, "log_records", "LogRecord", "repeated"],
    [3, "schema_url", "string"],
  ],
  LogRecord: [
    [1, "time_unix_nano", "fixed64"],
    [11, "observed_time_unix_nano", "fixed64"],
    [2, "severity_number", "SeverityNumber"],
    [3, "severity_text", "string"],
    [5, "body", "AnyValue"],
    [6, "attributes", "KeyValue", "repeated"],
    [7, "dropped_attributes_count", "uint32"],
    [8, "flags", "fixed32"],
    [9, "trace_id", "trace_id"],
    [10, "span_id", "span_id"],
    [12, "event_name", "string"],
  ],

  ExportMetricsServiceRequest: [[1, "resource_metrics", "ResourceMetrics", "repeated"]],
  ResourceMetrics: [
    [1, "resource", "Resource"],
    [2, "scope_metrics", "ScopeMetrics", "repeated"],
    [3, "schema_url", "string"],
    [1000, "deprecated_scope_metrics", "ScopeMetrics", "repeated"],
  ],
  ScopeMetrics: [
    [1, "scope", "InstrumentationScope"],
    [2, "metrics", "Metric", "repeated"],
    [3, "schema_url", "string"],
  ],
  Metric: [
    [1, "name", "string"],
    [2, "description", "string"],
    [3, "unit", "string"],
    [5, "gauge", "Gauge", "data"],
    [7, "sum", "Sum", "data"],
    [9, "histogram", "Histogram", "data"],
    [10, "exponential_histogram", "ExponentialHistogram", "data"],
    [11, "summary", "Summary", "data"],
    [12, "metadata", "KeyValue", "repeated"],
  ],
  Gauge: [[1, "data_points", "NumberDataPoint", "repeated"]],
  Sum: [
    [1, "data_points", "NumberDataPoint", "repeated"],
    [2, "aggregation_temporality", "AggregationTemporality"],
    [3, "is_monotonic", "bool"],
  ],
  Histogram: [
    [1, "data_points", "HistogramDataPoint", "repeated"],
    [2, "aggregation_temporality", "AggregationTemporality"],
  ],
  ExponentialHistogram: [
    [1, "data_points", "ExponentialHistogramDataPoint", "repeated"],
    [2, "aggregation_temporality", "AggregationTemporality"],
  ],
  Summary: [[1, "data_points", "SummaryDataPoint", "repeated"]],
  NumberDataPoint: [
    [7, "attributes", "KeyValue", "repeated"],
    [2, "start_time_unix_nano", "fixed64"],
    [3, "time_unix_nano", "fixed64"],
    [4, "as_double", "double", "value"],
    [6, "as_int", "sfixed64", "value"],
    [5, "exemplars", "Exemplar", "repeated"],
    [8, "flags", "uint32"],
  ],
  HistogramDataPoint: [
    [9, "attributes", "KeyValue", "repeated"],
    [2, "start_time_unix_nano", "fixed64"],
    [3, "time_unix_nano", "fixed64"],
    [4, "count", "fixed64"],
    [5, "sum", "double", "optional"],
    [6, "bucket_counts", "fixed64", "repeated"],
    [7, "explicit_bounds", "double", "repeated"],
    [8, "exemplars", "Exemplar", "repeated"],
    [10, "flags", "uint32"],
    [11, "min", "double", "optional"],
    [12, "max", "double", "optional"],
  ],
  ExponentialHistogramDataPoint: [
    [1, "attributes", "KeyValue", "repeated"],
    [2, "start_time_unix_nano", "fixed64"],
    [3, "time_unix_nano", "fixed64"],
    [4, "count", "fixed64"],
    [5, "sum", "double", "optional"],
    [6, "scale", "sint32"],
    [7, "zero_count", "fixed64"],
    [8, "positive", "Buckets"],
    [9, "negative", "Buckets"],
    [10, "flags", "uint32"],
    [11, "exemplars", "Exemplar", "repeated"],
    [12, "min", "double", "optional"],
    [13, "max", "double", "optional"],
    [14, "zero_threshold", "double"],
  ],
  Buckets: [
    [1, "offset", "sint32"],
    [2, "bucket_counts", "uint64", "repeated"],
  ],
  SummaryDataPoint: [
    [7, "attributes", "KeyValue", "repeated"],
    [2, "start_time_unix_nano", "fixed64"],
    [3, "time_unix_nano", "fixed64"],
    [4, "count", "fixed64"],
    [5, "sum", "double"],
    [6, "quantile_values", "ValueAtQuantile", "repeated"],
    [8, "flags", "uint32"],
  ],
  ValueAtQuantile: [
    [1, "quantile", "double"],
    [2, "value", "double"],
  ],
  Exemplar: [
    [7, "filtered_attributes", "KeyValue", "repeated"],
    [2, "time_unix_nano", "fixed64"],
    [3, "as_double", "double", "value"],
    [6, "as_int", "sfixed64", "value"],
    [4, "span_id", "span_id"],
    [5, "trace_id", "trace_id"],
  ],
} as const satisfies Record<string, readonly FieldSpec[]>;

/** The message that an `OtlpBatch` of this signal holds. */
export const REQUEST: { readonly [S in Signal]: MessageName } = {
  traces: "ExportTraceServiceRequest",
  metrics: "ExportMetricsServiceRequest",
  logs: "ExportLogsServiceRequest",
};

/** The fields of a message, in the order of MESSAGES. */
export function fieldsOf(message: MessageName): readonly FieldSpec[] {
  return MESSAGES[message];
}

/** How often an AnyValue may hold another; deeper ones are refused. The Collector has no bound; protobuf's own is 100 messages, which is fewer values. */
export const MAX_VALUE_DEPTH = 64;
