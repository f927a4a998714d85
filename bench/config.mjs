/** The otel.yml of a program under test. Both programs read the same keys; only request_merge and omni_proxy_log are ours. */

/**
 * @param {{merge?: boolean, compression?: string, level?: number, exporter?: string, durable?: boolean}} run what of it is on
 * @param {{grpc: number, http: number, metrics: number, sinkGrpc: number, sinkHttp: number, storage: string, logs?: string}} places
 */
export function configOf(run, places) {
  const { merge = false, compression = "gzip", exporter = "otlp_grpc", durable = false, level } = run;
  const endpoint = exporter === "otlp_grpc" ? `127.0.0.1:${places.sinkGrpc}` : `http://127.0.0.1:${places.sinkHttp}`;
  // Records of the log are of the past, and all there when the load begins: nothing is worth waiting for.
  const parts = merge
    ? {
        receivers: `\n  omni_proxy_log: {include: ["${places.logs}"], start_at: beginning, timezone: UTC}`,
        connectors: "connectors:\n  request_merge: {wait: 10ms}\n",
      }
    : { receivers: "", connectors: "" };
  const traces = `processors: [batch], exporters: [${exporter}]`;
  const pipelines = merge
    ? `
    logs: {receivers: [omni_proxy_log], exporters: [request_merge]}
    traces/in: {receivers: [otlp], exporters: [request_merge]}
    traces: {receivers: [request_merge], ${traces}}`
    : `
    traces: {receivers: [otlp], ${traces}}`;
  return `receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:${places.grpc}"}
      http: {endpoint: "127.0.0.1:${places.http}"}${parts.receivers}
${parts.connectors}processors:
  batch:
exporters:
  ${exporter}:
    endpoint: ${endpoint}
    compression: ${compression}
${level === undefined ? "" : `    compression_params: {level: ${level}}\n`}    tls: {insecure: true}
    sending_queue: {queue_size: 100000, ${durable ? "storage: file_storage" : ""}}
${durable ? `extensions:\n  file_storage: {directory: ${places.storage}, fsync: true, create_directory: true}\n` : ""}service:
${durable ? "  extensions: [file_storage]\n" : ""}  telemetry:
    metrics:
      readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: ${places.metrics}}}}}]
  pipelines:${pipelines}
`;
}
