/** What to write instead of components that a Collector has, or had, and this build has not. */

type Section = "receivers" | "processors" | "exporters" | "connectors" | "extensions";

const JAEGER_EXPORTER =
  "Jaeger takes OTLP natively (since 1.35): write an exporter `otlp` with endpoint JAEGER_HOST:4317 and, without TLS, `tls: {insecure: true}`";
const OTLP_RECEIVER = "let the sender speak OTLP and use the receiver `otlp` (gRPC 4317, HTTP 4318)";
const LOG_RECEIVER =
  "for Omni Proxy's log use `omni_proxy_log`; other logs come in over `otlp` from an agent, such as a Collector with filelog";

const HINTS: Readonly<Record<Section, Readonly<Record<string, string>>>> = {
  receivers: {
    jaeger: `Jaeger's clients are retired: ${OTLP_RECEIVER}`,
    opencensus: OTLP_RECEIVER,
    zipkin: OTLP_RECEIVER,
    filelog: LOG_RECEIVER,
    file_log: LOG_RECEIVER,
  },
  processors: {
    tail_sampling: "put a Collector with tail_sampling behind this program: it then sees merged traces",
    groupbytrace: "the connector `request_merge` brings the spans of a request together",
  },
  exporters: {
    jaeger: JAEGER_EXPORTER,
    jaeger_thrift: JAEGER_EXPORTER,
    jaeger_thrift_hs: JAEGER_EXPORTER,
    logging: "the logging exporter has been deprecated, use the `debug` exporter instead",
    opencensus: "use `otlp` (gRPC) or `otlphttp`",
    zipkin: "Jaeger and most others take OTLP: use `otlp` or `otlphttp`",
    prometheus: "this program's own metrics are on localhost:8888/metrics; send others on with `otlp`",
  },
  connectors: {
    spanmetrics: "put a Collector with spanmetrics, or Jaeger's own, behind this program",
  },
  extensions: {
    zpages: "leave it out, here and in service::extensions: this program has no zPages",
    pprof: "leave it out, here and in service::extensions: start node with --cpu-prof instead",
    memory_ballast: "leave it out: the ballast is gone from the Collector too",
  },
};

/** What to do about a component type that this build does not know; undefined when nothing special is known. */
export function hintForUnknown(sectionName: Section, type: string): string | undefined {
  const hints = HINTS[sectionName];
  return Object.hasOwn(hints, type) ? hints[type] : undefined;
}
