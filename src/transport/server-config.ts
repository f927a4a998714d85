/** Keys that the gRPC and the HTTP server have in common. */
import { byteSize, duration, expected, int, withHint, z } from "../config/schema.ts";

/** Bytes of a mebibyte. */
export const MIB = 1024 * 1024;

/** What requests in progress may hold when the file does not say: room for sixty-four of gRPC's largest messages. */
const DEFAULT_IN_FLIGHT_MIB = 256;

/** Bounds that the Collector has not: a file with these keys is for this program only. */
export function bounds() {
  return {
    /** MiB that requests in progress may hold together; 0 = 256, or twice the largest request where that is more. */
    max_in_flight_mib: int(0),
    /** Connections at once. */
    max_connections: int(4096, 1),
    /** A connection that has said nothing for so long is closed (grpc-go's ConnectionTimeout). */
    handshake_timeout: duration("120s"),
    /** A request that has not arrived wholly so long after it began is refused; 0: never. */
    receive_timeout: duration("5m"),
    /** Of one request, all headers together. */
    max_header_size: byteSize("16KiB", 4096, MIB),
  };
}

/** What both servers are told of the keys of `bounds`. */
export function serverLimits(config: ServerBounds, largestRequest: number): ServerLimits {
  return {
    maxInFlightBytes: inFlightBytes(config, largestRequest),
    maxConnections: config.max_connections,
    handshakeTimeoutMs: config.handshake_timeout,
    receiveTimeoutMs: config.receive_timeout,
    maxHeaderBytes: config.max_header_size,
  };
}

/** The decoded keys of `bounds`. */
interface ServerBounds {
  readonly max_in_flight_mib: number;
  readonly max_connections: number;
  readonly handshake_timeout: number;
  readonly receive_timeout: number;
  readonly max_header_size: number;
}

/** Bounds that have no key in the Collector's schema. */
export interface ServerLimits {
  /** Bytes that the requests in progress may hold together; more are refused with UNAVAILABLE or 503 and a hint when to come again. */
  readonly maxInFlightBytes: number;
  /** More connections are closed at once. */
  readonly maxConnections: number;
  /** A connection that says nothing for so long is closed. */
  readonly handshakeTimeoutMs: number;
  /** A request that takes longer to arrive is refused; 0 or absent: it may take for ever. */
  readonly receiveTimeoutMs?: number;
  /** A request with more bytes of headers is refused; absent: Node's own bounds. */
  readonly maxHeaderBytes?: number;
}

/** `max_in_flight_mib` in bytes. Never less than one largest request, which could not be received at all. */
function inFlightBytes(config: { readonly max_in_flight_mib: number }, largestRequest: number): number {
  return config.max_in_flight_mib > 0
    ? Math.max(config.max_in_flight_mib * MIB, largestRequest + MIB)
    : Math.max(DEFAULT_IN_FLIGHT_MIB * MIB, 2 * largestRequest);
}

/** A key of the Collector that would protect something: accepting it without doing it would be worse than refusing it. */
export function notYet(key: string) {
  return z
    .unknown()
    .optional()
    .check((ctx) => {
      if (ctx.value === undefined || ctx.value === null) return;
      ctx.issues.push({
        code: "custom",
        input: ctx.value,
        message: withHint(`${key} is not supported by this version`, "remove it, or put a proxy that does it in front"),
      });
    });
}

/** `middlewares`: the Collector loads them as extensions, of which this build has none. */
export function withoutMiddlewares() {
  return z
    .array(z.unknown(), { error: (issue) => expected("slice", issue.input) })
    .nullish()
    .check((ctx) => {
      if ((ctx.value ?? []).length === 0) return;
      ctx.issues.push({
        code: "custom",
        input: ctx.value,
        message: withHint("this build has no middleware extensions", "remove the list"),
      });
    });
}
