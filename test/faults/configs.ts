import type { VictimPlaces } from "./victim.ts";

/** What a scenario changes in its configuration: more of a YAML flow map, such as `timeout: 1s`. */
export interface ConfigChanges {
  readonly queue?: string;
  readonly storage?: string;
  readonly retry?: string;
  readonly exporter?: string;
  readonly batch?: string;
  readonly merge?: string;
  readonly log?: string;
}

/** Both protocols in, the batch processor, a durable queue, gRPC out. */
export function passThrough(endpoint: string, changes: ConfigChanges = {}) {
  return (places: VictimPlaces): string => `${head(places, changes)}
exporters:
  otlp_grpc: ${exporter(endpoint, changes)}
service:
  extensions: [file_storage]
  telemetry: ${telemetry(places)}
  pipelines:
    traces: {receivers: [otlp], processors: [batch], exporters: [otlp_grpc]}
`;
}

/** The same with a live log and the merge between; offsets and open requests are durable too. */
export function merging(endpoint: string, changes: ConfigChanges = {}) {
  return (places: VictimPlaces): string => `${head(places, changes)}
  omni_proxy_log:
    include: [${places.log}]
    start_at: beginning
    storage: file_storage
    ${changes.log ?? ""}
connectors:
  request_merge: {wait: 1s, span_wait: 300ms, storage: file_storage, ${changes.merge ?? ""}}
exporters:
  otlp_grpc: ${exporter(endpoint, changes)}
service:
  extensions: [file_storage]
  telemetry: ${telemetry(places)}
  pipelines:
    logs: {receivers: [omni_proxy_log], exporters: [request_merge]}
    traces/in: {receivers: [otlp], exporters: [request_merge]}
    traces: {receivers: [request_merge], processors: [batch], exporters: [otlp_grpc]}
`;
}

function head(places: VictimPlaces, changes: ConfigChanges): string {
  return `
extensions:
  file_storage: {directory: "${places.storage}", timeout: 5s, ${changes.storage ?? ""}}
processors:
  batch: {${changes.batch ?? ""}}
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:${places.grpc}"}
      http: {endpoint: "127.0.0.1:${places.http}"}`;
}

function exporter(endpoint: string, { queue, retry, exporter }: ConfigChanges): string {
  return `
    endpoint: ${endpoint}
    tls: {insecure: true}
    sending_queue: {${queue ?? "storage: file_storage, queue_size: 100000"}}
    retry_on_failure: {initial_interval: 100ms, max_interval: 1s, ${retry ?? ""}}
    ${exporter ?? ""}`;
}

function telemetry(places: VictimPlaces): string {
  return `{metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: ${places.metrics}}}}}]}}`;
}
