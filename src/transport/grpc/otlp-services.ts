/** The method tables of OTLP's collector services, made from the definitions in proto/ when they are first asked for. */
import { fromJSON, type ServiceDefinition } from "@grpc/proto-loader";
import protobuf from "protobufjs";
import { readTextAsset } from "../../assets/assets.ts";

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
  const definitions = fromJSON(parseProto(files).toJSON(), { keepCase: true });
  const path = (signal: Signal): string => {
    const [name, service] = SERVICES[signal];
    const methods = definitions[`opentelemetry.proto.collector.${name}.v1.${service}`] as ServiceDefinition;
    return (methods["Export"] as { path: string }).path;
  };
  return { traces: path("traces"), metrics: path("metrics"), logs: path("logs") };
}

/** The definitions in `files` and in all that they import; protobufjs's own loader reads from a file system only. */
function parseProto(files: readonly string[]): protobuf.Root {
  const root = new protobuf.Root();
  const wanted = new Set(files);
  // A set goes on to what is added to it while it is gone through.
  for (const file of wanted)
    for (const imported of protobuf.parse(readTextAsset(`proto/${file}`), root, { keepCase: true }).imports ?? [])
      wanted.add(imported);
  return root;
}
