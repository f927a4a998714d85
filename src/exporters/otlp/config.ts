import { bool, duration, expected, int, oneOf, presence, section, text, withHint, z } from "../../config/schema.ts";
import { networkKeys } from "../../sending/network.ts";
import { authSection } from "../../transport/auth.ts";
import { parseGrpcTarget } from "../../transport/grpc-target.ts";
import { requestHeaders } from "../../transport/header-config.ts";
import { isPlaintext, tlsClientSchema } from "../../transport/tls-client.ts";

/** The Collector's other compressions, which @grpc/grpc-js does not have. */
const MISSING_COMPRESSIONS = ["zstd", "snappy", "zlib", "deflate", "lz4", "x-snappy-framed"];

const compression = z
  .string({ error: (issue) => expected("string", issue.input) })
  .check((ctx) => {
    const name = ctx.value;
    if (["gzip", "none", ""].includes(name)) return;
    const known = MISSING_COMPRESSIONS.includes(name);
    ctx.issues.push({
      code: "custom",
      input: name,
      message: withHint(
        known
          ? `compression ${JSON.stringify(name)} is not available over gRPC in this build`
          : `unsupported compression type ${JSON.stringify(name)}`,
        "gzip and none are",
      ),
    });
  })
  .default("gzip");

const endpoint = text().check((ctx) => {
  const parsed = parseGrpcTarget(ctx.value);
  if (typeof parsed === "string") ctx.issues.push({ code: "custom", input: ctx.value, message: parsed });
});

/**
 * The Collector's keys and defaults (otlpexporter, configgrpc.ClientConfig). Not here: middlewares.
 * `compression_params` is confighttp's; configgrpc has no level.
 * `write_buffer_size` and `read_buffer_size` are grpc-go's; they are accepted and change nothing.
 */
export const otlpGrpcSchema = section({
  endpoint,
  compression,
  compression_params: section({ level: int(0, -2) }),
  tls: tlsClientSchema,
  auth: authSection(),
  headers: requestHeaders(),
  timeout: duration("5s"),
  wait_for_ready: bool(false),
  balancer_name: oneOf(["round_robin", "pick_first"], "round_robin"),
  keepalive: presence({
    time: duration("10s"),
    timeout: duration("10s"),
    permit_without_stream: bool(false),
  }),
  authority: text(""),
  user_agent: text(""),
  write_buffer_size: int(512 * 1024),
  read_buffer_size: int(0),
  ...networkKeys,
}).check((ctx) => {
  const { auth, tls, endpoint, compression_params } = ctx.value;
  if (compression_params.level > 9)
    ctx.issues.push({
      code: "custom",
      input: ctx.value,
      path: ["compression_params", "level"],
      message: `must be at most 9 for compression "gzip", got ${compression_params.level}`,
    });
  if (!auth || !isPlaintext(tls) || endpoint.startsWith("https://")) return;
  ctx.issues.push({
    code: "custom",
    input: ctx.value,
    path: ["auth"],
    message: withHint(
      "grpc: the credentials require transport level security",
      "remove tls::insecure, or send a secret in plain text with `headers` if it must be",
    ),
  });
});

/** What `otlpGrpcSchema` decodes to; times in milliseconds. */
export type OtlpGrpcConfig = z.output<typeof otlpGrpcSchema>;
