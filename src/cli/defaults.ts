/** What runs without --config: needs no file, no Jaeger and no port beyond OTLP's two. */

import type { Source } from "../config/node.ts";

/** Names Omni Proxy's log for the built-in default: a path or a pattern. */
export const LOG_VARIABLE = "OMNISHIM_LOG";

/** The built-in default as a file, and what to say about it when it runs. */
export interface BuiltIn {
  readonly source: Source;
  /** One log line each. */
  readonly says: readonly string[];
}

/** Without OMNISHIM_LOG there is no log to follow: a guessed path would be a warning for everyone who has none. */
export function builtInConfig(env: Readonly<Record<string, string | undefined>>): BuiltIn {
  const log = env[LOG_VARIABLE]?.trim();
  const says = [
    "No --config given: running the built-in default. Spans come in by OTLP, the spans of a request are joined, and each trace is printed here",
    log
      ? `Omni Proxy's log is read from ${log}`
      : `Omni Proxy's log is not read: set ${LOG_VARIABLE}=/path/to/nginx_error.log to see what the proxy did with each request`,
    "Next: point vLLM here with --otlp-traces-endpoint http://THIS_HOST:4317 (OMNISHIM_LISTEN_HOST=0.0.0.0 opens the ports to other machines), and run with --config otel.yml to send the traces to Jaeger",
  ];
  const yaml = `receivers:
  otlp:
    protocols:
      grpc:
      http:
${log ? `  omni_proxy_log:\n    include: [${JSON.stringify(log.replaceAll("$", () => "$$"))}]\n` : ""}connectors:
  request_merge:
processors:
  batch:
exporters:
  debug:
    verbosity: detailed
service:
  pipelines:
${log ? "    logs:\n      receivers: [omni_proxy_log]\n      exporters: [request_merge]\n" : ""}    traces/in:
      receivers: [otlp]
      exporters: [request_merge]
    traces:
      receivers: [request_merge]
      processors: [batch]
      exporters: [debug]
`;
  return { source: { name: "built-in default", text: yaml }, says };
}
