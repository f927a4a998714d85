/** The settings of an HTTP server: confighttp.ServerConfig of the Collector, 0.103 and newer, and bounds of our own. */
import {
  bool,
  duration,
  expected,
  int,
  oneOf,
  presence,
  type Secret,
  secretMap,
  section,
  texts,
  z,
} from "../../config/schema.ts";
import { authSection } from "../auth.ts";
import { listenEndpoint, listenTransport } from "../listen-config.ts";
import { bounds, MIB, serverLimits, withoutMiddlewares } from "../server-config.ts";
import { tlsServerSection } from "../tls-server.ts";
import { DEFAULT_COMPRESSIONS, type HttpServerOptions } from "./server.ts";

/** The Collector's limit for bodies when `max_request_body_size` is 0. */
const DEFAULT_BODY_BYTES = 20 * MIB;

/** The keys of an HTTP server that listens on `port` unless told otherwise. Timeouts are off, as in the Collector's otlp receiver. */
export function httpServerShape(port: number) {
  return {
    endpoint: listenEndpoint(port),
    transport: listenTransport(),
    /** Accepted because confignet has it; it is about dialling, so a server does not use it. */
    dialer: section({ timeout: duration("0s") }).optional(),
    tls: tlsServerSection(),
    auth: authSection(),
    middlewares: withoutMiddlewares(),
    max_request_body_size: int(0),
    compression_algorithms: compressionAlgorithms(),
    include_metadata: bool(false),
    response_headers: secretMap(),
    cors: presence({
      allowed_origins: texts(),
      allowed_headers: texts(),
      exposed_headers: texts(),
      max_age: int(0, -1),
    }),
    keep_alives_enabled: bool(true),
    read_timeout: duration("0s"),
    read_header_timeout: duration("0s"),
    write_timeout: duration("0s"),
    idle_timeout: duration("0s"),
    ...bounds(),
  };
}

/** Absent or null: all of them. []: bodies are handed on as they come. */
function compressionAlgorithms() {
  const list = z.array(oneOf(DEFAULT_COMPRESSIONS, ""), { error: (issue) => expected("slice", issue.input) });
  return z
    .codec(z.unknown(), list, {
      decode: (value) => (value ?? [...DEFAULT_COMPRESSIONS]) as never,
      encode: (value) => value as unknown,
    })
    .prefault(undefined);
}

const shape = section(httpServerShape(0));
/** A decoded section of an HTTP server. */
export type HttpServerConfig = z.output<typeof shape>;

/** The part of a server's options that its section decides. */
export function httpServerOptions(
  config: HttpServerConfig,
): Omit<HttpServerOptions, "address" | "key" | "grpcHint" | "clock" | "logger" | "handle" | "onRefused"> {
  const maxBodyBytes = config.max_request_body_size || DEFAULT_BODY_BYTES;
  return {
    transport: config.transport,
    tls: config.tls,
    maxBodyBytes,
    compressions: config.compression_algorithms,
    includeMetadata: config.include_metadata,
    responseHeaders: Object.fromEntries(
      Object.entries(config.response_headers as Record<string, Secret>).map(([name, value]) => [name, value.reveal()]),
    ),
    cors: config.cors && {
      allowedOrigins: config.cors.allowed_origins,
      allowedHeaders: config.cors.allowed_headers,
      exposedHeaders: config.cors.exposed_headers,
      maxAge: config.cors.max_age,
    },
    keepAlives: config.keep_alives_enabled,
    readTimeoutMs: config.read_timeout,
    readHeaderTimeoutMs: config.read_header_timeout,
    writeTimeoutMs: config.write_timeout,
    idleTimeoutMs: config.idle_timeout,
    limits: serverLimits(config, maxBodyBytes),
  };
}
