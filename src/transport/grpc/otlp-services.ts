/** The method tables of OTLP's collector services, made from the definitions in proto/ when they are first asked for. */
import { fileURLToPath } from "node:url";
import { loadSync, type ServiceDefinition } from "@grpc/proto-loader";

/** proto/ lies beside src/ and dist/ alike. */
const PROTO = fileURLToPath(new URL("../../../proto/", import.meta.url));

const SERVICES = {
  traces: ["trace", "TraceService"],
  metrics: ["metrics", "MetricsService"],
  logs: ["logs", "LogsService"],
} as const;

/** One of OTLP's signals. */
type Signal = keyof typeof SERVICES;

let paths: Readonly<Record<Signal, string>> | undefined;

/** The path of each signal's Export method: "/opentelemetry.proto.collector.trace.v1.TraceService/Export". @throws when proto/ is missing from the installation */
export function exportPaths(): Readonly<Record<Signal, string>> {
  paths ??= load();
  return paths;
}

function load(): Readonly<Record<Signal, string>> {
  const files = Object.values(SERVICES).map(
    ([signal]) => `opentelemetry/proto/collector/${signal}/v1/${signal}_service.proto`,
  );
  const definitions = loadSync(files, { includeDirs: [PROTO], keepCase: true });
  const path = (signal: Signal): string => {
    const [name, service] = SERVICES[signal];
    const methods = definitions[`opentelemetry.proto.collector.${name}.v1.${service}`] as ServiceDefinition;
    return (methods["Export"] as { path: string }).path;
  };
  return { traces: path("traces"), metrics: path("metrics"), logs: path("logs") };
}
