import type { VictimPlaces } from "./victim.ts";

/** The configuration under test: both protocols in, the batch processor, a durable queue, gRPC out. */
export function durableConfig(endpoint: string, over: { queue?: string; storage?: string; retry?: string } = {}) {
  return (places: VictimPlaces): string => `
extensions:
  file_storage:
    directory: ${places.storage}
    timeout: 5s
    ${over.storage ?? ""}
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:${places.grpc}"}
      http: {endpoint: "127.0.0.1:${places.http}"}
processors:
  batch:
exporters:
  otlp_grpc:
    endpoint: ${endpoint}
    tls: {insecure: true}
    sending_queue: {storage: file_storage, queue_size: 100000, ${over.queue ?? ""}}
    retry_on_failure: {initial_interval: 100ms, max_interval: 1s, ${over.retry ?? ""}}
service:
  extensions: [file_storage]
  telemetry:
    metrics:
      readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: ${places.metrics}}}}}]
  pipelines:
    traces: {receivers: [otlp], processors: [batch], exporters: [otlp_grpc]}
`;
}
