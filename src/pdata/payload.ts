/**
 * What flows through a pipeline: the encoded OTLP export request and how many items it holds.
 *
 * `bytes` is a whole `ExportTraceServiceRequest`, `ExportMetricsServiceRequest` or `ExportLogsServiceRequest`
 * (opentelemetry/proto/collector/*.proto). Two requests concatenated are one request (protobuf merges repeated
 * fields), so batching copies and never decodes; what nobody touches leaves byte for byte as it came.
 */
export interface OtlpBatch<S extends Signal> {
  readonly signal: S;
  /** The encoded request. Treat as immutable unless you declared `mutatesData`. */
  readonly bytes: Uint8Array;
  /** Spans, metric data points or log records in `bytes` (the Collector's SpanCount, DataPointCount, LogRecordCount). */
  readonly items: number;
}

/** The three signals, spelled as in `service::pipelines`. */
export type Signal = "traces" | "metrics" | "logs";
export type Traces = OtlpBatch<"traces">;
export type Metrics = OtlpBatch<"metrics">;
export type Logs = OtlpBatch<"logs">;
