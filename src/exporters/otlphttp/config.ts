import { bool, duration, expected, int, oneOf, section, withHint, z } from "../../config/schema.ts";
import { networkKeys } from "../../sending/network.ts";
import { authSection } from "../../transport/auth.ts";
import { compressionNames, compressionProblem } from "../../transport/compression/compress.ts";
import { requestHeaders } from "../../transport/header-config.ts";
import { tlsClientSchema } from "../../transport/tls-client.ts";

const compression = oneOf(compressionNames, "gzip").check((ctx) => {
  const problem = compressionProblem(ctx.value);
  if (!problem) return;
  const hint = `${compressionNames.filter((name) => name !== "" && !compressionProblem(name)).join(", ")} are`;
  ctx.issues.push({ code: "custom", input: ctx.value, message: withHint(problem, hint) });
});

/** "" or a URL of http or https; a password in it is hidden when the configuration is printed. */
const url = (example: string) =>
  z
    .codec(
      z.string({ error: (issue) => expected("string", issue.input) }),
      z.string().check((ctx) => {
        if (ctx.value === "" || isHttpUrl(ctx.value)) return;
        const got = JSON.stringify(withoutPassword(ctx.value));
        ctx.issues.push({
          code: "custom",
          input: ctx.value,
          message: withHint(`must be a valid URL with http:// or https://, got ${got}`, example),
        });
      }),
      { decode: (value) => value, encode: withoutPassword },
    )
    .prefault("");

function withoutPassword(url: string): string {
  return url.replace(/^([a-z][a-z0-9+.-]*:\/\/[^/?#:]*:)[^/?#]*@/i, "$1[REDACTED]@");
}

function isHttpUrl(value: string): boolean {
  return /^https?:\/\//i.test(value) && URL.canParse(value);
}

/**
 * The Collector's keys and defaults (otlphttpexporter, confighttp.ClientConfig). Not here: middlewares, cookies,
 * profiles_endpoint. Accepted without effect, because requests go over HTTP/1.1 and undici has no such buffers:
 * read_buffer_size, write_buffer_size, max_idle_conns, max_idle_conns_per_host, force_attempt_http2, http2_*.
 */
export const otlpHttpSchema = section({
  endpoint: url('for example "http://jaeger:4318"'),
  traces_endpoint: url('for example "http://jaeger:4318/v1/traces"'),
  metrics_endpoint: url('for example "http://prometheus:9090/api/v1/otlp/v1/metrics"'),
  logs_endpoint: url('for example "http://loki:3100/otlp/v1/logs"'),
  encoding: oneOf(["proto", "json"], "proto"),
  compression,
  compression_params: section({ level: int(0, -2) }),
  timeout: duration("30s"),
  headers: requestHeaders(),
  tls: tlsClientSchema,
  auth: authSection(),
  proxy_url: url('for example "http://proxy:3128"'),
  read_buffer_size: int(0),
  write_buffer_size: int(512 * 1024),
  max_idle_conns: int(100),
  max_idle_conns_per_host: int(0),
  max_conns_per_host: int(0),
  idle_conn_timeout: duration("90s"),
  disable_keep_alives: bool(false),
  force_attempt_http2: bool(true),
  http2_read_idle_timeout: duration("0s"),
  http2_ping_timeout: duration("0s"),
  ...networkKeys,
}).check((ctx) => {
  const { endpoint, traces_endpoint, metrics_endpoint, logs_endpoint, compression, compression_params } = ctx.value;
  if (![endpoint, traces_endpoint, metrics_endpoint, logs_endpoint].some((value) => value !== ""))
    ctx.issues.push({
      code: "custom",
      input: ctx.value,
      path: ["endpoint"],
      message: "at least one endpoint must be specified",
    });
  if (compression_params.level > 9 && compression !== "zstd")
    ctx.issues.push({
      code: "custom",
      input: ctx.value,
      path: ["compression_params", "level"],
      message: `must be at most 9 for compression ${JSON.stringify(compression)}, got ${compression_params.level}`,
    });
});

/** What `otlpHttpSchema` decodes to; times in milliseconds. */
export type OtlpHttpConfig = z.output<typeof otlpHttpSchema>;
