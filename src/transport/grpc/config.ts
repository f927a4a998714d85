/** The settings of a gRPC server: configgrpc.ServerConfig of the Collector, 0.103 and newer, and bounds of our own. */
import { bool, duration, int, section, type z } from "../../config/schema.ts";
import { authSection } from "../auth.ts";
import { listenEndpoint, listenTransport } from "../listen-config.ts";
import { bounds, MIB, serverLimits, withoutMiddlewares } from "../server-config.ts";
import { tlsServerSection } from "../tls-server.ts";
import type { GrpcServerOptions } from "./server.ts";

/** grpc-go's limit for messages when `max_recv_msg_size_mib` is 0. */
const DEFAULT_MESSAGE_MIB = 4;

/** The keys of a gRPC server that listens on `port` unless told otherwise. */
export function grpcServerShape(port: number) {
  return {
    endpoint: listenEndpoint(port),
    transport: listenTransport(),
    /** Accepted because confignet has it; it is about dialling, so a server does not use it. */
    dialer: section({ timeout: duration("0s") }).optional(),
    tls: tlsServerSection(),
    auth: authSection(),
    middlewares: withoutMiddlewares(),
    max_recv_msg_size_mib: int(0, 0, 4095),
    max_concurrent_streams: int(0, 0, 0xffffffff),
    /** Accepted, not used: node:http2 reads what the socket gives, at most 64 KiB at a time. */
    read_buffer_size: int(524_288),
    /** Accepted, not used: node:http2 writes frames as they come. */
    write_buffer_size: int(0),
    include_metadata: bool(false),
    keepalive: section({
      server_parameters: section({
        max_connection_idle: duration("0s"),
        max_connection_age: duration("0s"),
        max_connection_age_grace: duration("0s"),
        time: duration("0s"),
        timeout: duration("0s"),
      }),
      enforcement_policy: section({ min_time: duration("0s"), permit_without_stream: bool(false) }),
    }),
    ...bounds(),
  };
}

const shape = section(grpcServerShape(0));
/** A decoded section of a gRPC server. */
export type GrpcServerConfig = z.output<typeof shape>;

/** The part of a server's options that its section decides. */
export function grpcServerOptions(
  config: GrpcServerConfig,
): Pick<
  GrpcServerOptions,
  | "transport"
  | "tls"
  | "maxMessageBytes"
  | "maxConcurrentStreams"
  | "includeMetadata"
  | "keepalive"
  | "enforcement"
  | "limits"
> {
  const { server_parameters, enforcement_policy } = config.keepalive;
  const maxMessageBytes = (config.max_recv_msg_size_mib || DEFAULT_MESSAGE_MIB) * MIB;
  return {
    transport: config.transport,
    tls: config.tls,
    maxMessageBytes,
    maxConcurrentStreams: config.max_concurrent_streams,
    includeMetadata: config.include_metadata,
    keepalive: {
      maxConnectionIdleMs: server_parameters.max_connection_idle,
      maxConnectionAgeMs: server_parameters.max_connection_age,
      maxConnectionAgeGraceMs: server_parameters.max_connection_age_grace,
      timeMs: server_parameters.time,
      timeoutMs: server_parameters.timeout,
    },
    enforcement: {
      minTimeMs: enforcement_policy.min_time,
      permitWithoutStream: enforcement_policy.permit_without_stream,
    },
    limits: serverLimits(config, maxMessageBytes),
  };
}
