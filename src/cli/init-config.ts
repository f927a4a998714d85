/** The commented configuration that `omnishim init` writes. Pure. */
import { stringify } from "yaml";

/** Where omnishim runs, seen from vLLM and Jaeger. */
export const DEPLOYMENTS = ["native", "compose", "sidecar"] as const;
export type Deployment = (typeof DEPLOYMENTS)[number];

/** What is chosen; what is left out follows from the deployment. */
export interface InitChoices {
  readonly deployment: Deployment;
  /** "jaeger:4317" for gRPC, a URL for HTTP. */
  readonly jaeger?: string | undefined;
  /** Omni Proxy's logs; [] for a file without Omni Proxy. */
  readonly logs?: readonly string[] | undefined;
  /** Host that the OTLP ports are bound to. */
  readonly listen?: string | undefined;
  /** Folder of a durable queue. */
  readonly queue?: string | undefined;
}

interface Defaults {
  readonly about: string;
  readonly jaeger: string;
  readonly jaegerNote: string;
  readonly listen: string;
  readonly listenNote: string;
  readonly health: string;
  readonly metrics: string;
}

const LOGS = ["/var/log/omni/nginx_error.log", "/var/log/omni/nginx_access.log"];

const BY_DEPLOYMENT: Readonly<Record<Deployment, Defaults>> = {
  native: {
    about: "on one host with Jaeger, without containers",
    jaeger: "localhost:14317",
    jaegerNote:
      "Jaeger has left 4317 to omnishim: --collector.otlp.grpc.host-port=localhost:14317 (docs/native-jaeger.md).",
    listen: "localhost",
    listenNote: "vLLM runs on this host. For vLLM on others write 0.0.0.0.",
    health: "localhost:13133",
    metrics: "localhost",
  },
  compose: {
    about: "in a container beside Jaeger's",
    jaeger: "jaeger:4317",
    jaegerNote: "The name of Jaeger's service in the compose file.",
    listen: "0.0.0.0",
    listenNote: "Other containers, and hosts through published ports, can reach it.",
    health: "0.0.0.0:13133",
    metrics: "0.0.0.0",
  },
  sidecar: {
    about: "in one pod with Omni Proxy or vLLM, which share its localhost",
    jaeger: "jaeger-collector:4317",
    jaegerNote: "Jaeger's service in the cluster.",
    listen: "localhost",
    listenNote: "The pod's own. For vLLM in other pods write 0.0.0.0.",
    health: "0.0.0.0:13133",
    metrics: "0.0.0.0",
  },
};

/** The text of the file; it is valid whatever is chosen. */
export function initialConfig(choices: InitChoices): string {
  const { deployment, queue } = choices;
  const defaults = BY_DEPLOYMENT[deployment];
  const logs = choices.logs ?? LOGS;
  const listen = choices.listen ?? defaults.listen;
  const jaeger = choices.jaeger ?? defaults.jaeger;
  const isHttp = /^https?:\/\//i.test(jaeger);
  const exporter = isHttp ? "otlp_http" : "otlp_grpc";
  const hasLogs = logs.length > 0;
  const storage = queue === undefined ? "# storage: file_storage" : "storage: file_storage";
  const parts = [
    `# omnishim ${defaults.about}: OTLP from vLLM${hasLogs ? " and Omni Proxy's log" : ""} in, one trace a request out, into Jaeger.
# Check it: omnishim validate --config FILE; look around it: omnishim doctor --config FILE

receivers:
  otlp:
    protocols:
      # ${choices.listen === undefined ? defaults.listenNote : "As --listen said."}
      grpc:
        endpoint: ${scalar(address(listen, 4317))}
      http:
        endpoint: ${scalar(address(listen, 4318))}
`,
    hasLogs &&
      `  omni_proxy_log:
    # The error log at level info (omni_proxy.sh --log-level info) and, for status and full request ids, the access log.
    include:
${logs.map((log) => `      - ${scalar(log)}\n`).join("")}    # Where it has read to is kept over a restart with a file_storage.
    ${storage}
`,
    `
connectors:
  request_merge:
    # Which vLLM is which, when log and span do not tell; OTEL_SERVICE_NAME of the instances.
    # roles:
    #   prefill: {service.name: [vllm-prefill]}
    #   decode: {service.name: [vllm-decode]}

processors:
  batch:

exporters:
  ${exporter}:
    # ${choices.jaeger === undefined ? defaults.jaegerNote : "As --jaeger said."}
    endpoint: ${scalar(jaeger)}
`,
    !isHttp &&
      "    tls:\n      # Without TLS. With it: insecure: false, and ca_file for an authority of your own.\n      insecure: true\n",
    `    sending_queue:
      # Batches that wait while Jaeger is away.
      queue_size: 1000
      ${storage}

extensions:
  health_check:
    endpoint: ${scalar(defaults.health)}
`,
    queue === undefined
      ? `  # A queue on the disk survives a crash: take the # away here, in service::extensions and at both lines with storage.
  # file_storage:
  #   directory: /var/lib/omnishim/queue
`
      : `  # What Jaeger has not taken yet, on the disk.
  file_storage:
    directory: ${scalar(queue)}
`,
    `
service:
  extensions: [${queue === undefined ? "health_check" : "file_storage, health_check"}]${queue === undefined ? " # file_storage" : ""}
  telemetry:
    logs:
      level: info
    metrics:
      readers:
        - pull:
            exporter:
              # http://HOST:8888/metrics
              prometheus:
                host: ${scalar(defaults.metrics)}
                port: 8888
  pipelines:
`,
    hasLogs &&
      `    logs:
      # Add otlp here when agents on other hosts send the log's lines.
      receivers: [omni_proxy_log]
      exporters: [request_merge]
`,
    `    traces/in:
      receivers: [otlp]
      exporters: [request_merge]
    traces:
      receivers: [request_merge]
      processors: [batch]
      exporters: [${exporter}]
`,
  ];
  return parts.filter((part) => part !== false).join("");
}

/** A YAML scalar that means this text; `$` would begin a variable. */
function scalar(text: string): string {
  return stringify(
    text.replaceAll("$", () => "$$"),
    { lineWidth: 0 },
  ).trimEnd();
}

function address(host: string, port: number): string {
  return `${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${port}`;
}
