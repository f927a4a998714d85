/** gRPC status: codes, the error a handler throws, and how both travel in trailers (grpc/doc/PROTOCOL-HTTP2.md). */
import { encodeRetryInfo, encodeStatus } from "../rpcstatus.ts";

/** google.rpc.Code. */
export const GrpcCode = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

/** Longest message sent, in characters: clients bound a response's headers at 8 KiB (grpc-core's default) and the message travels twice when there are details. */
const MESSAGE_LENGTH = 1024;

/** A call's failure. `retryAfterMs`: how long the client should wait at least; sent as google.rpc.RetryInfo. */
export class GrpcError extends Error {
  readonly code: number;
  readonly retryAfterMs: number | undefined;

  constructor(code: number, message: string, retryAfterMs?: number) {
    super(message);
    this.name = "GrpcError";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Percent-encodes a grpc-message: UTF-8 bytes other than 0x20-0x7E and "%" become %XX. */
export function encodeGrpcMessage(message: string): string {
  const text = message.length > MESSAGE_LENGTH ? `${message.slice(0, MESSAGE_LENGTH - 3)}...` : message;
  if (/^[ -$&-~]*$/.test(text)) return text;
  let out = "";
  for (const byte of Buffer.from(text, "utf8"))
    out +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  return out;
}

/**
 * The trailers of a failed call. With `retryAfterMs` RetryInfo goes out twice: in grpc-status-details-bin, where grpc-go,
 * grpc-java and the Collector look, and in the trailer of its own name, which is all that the Python exporter reads.
 */
export function errorTrailers(error: GrpcError): Record<string, string> {
  const trailers: Record<string, string> = { "grpc-status": String(error.code) };
  if (error.message !== "") trailers["grpc-message"] = encodeGrpcMessage(error.message);
  if (error.retryAfterMs !== undefined) {
    trailers["grpc-status-details-bin"] = base64(
      encodeStatus(error.code, error.message.slice(0, MESSAGE_LENGTH), error.retryAfterMs),
    );
    trailers["google.rpc.retryinfo-bin"] = base64(encodeRetryInfo(error.retryAfterMs));
  }
  return trailers;
}

/** Binary metadata travels as base64; senders should leave the padding out. */
function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64").replace(/=+$/, "");
}

/** Most characters of a grpc-timeout value: eight digits and a unit. */
const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const TIMEOUT_UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** A grpc-timeout header as milliseconds, or undefined when it is malformed. */
export function parseGrpcTimeout(value: string): number | undefined {
  const match = TIMEOUT.exec(value);
  return match ? Number(match[1]) * (TIMEOUT_UNITS[match[2] as string] as number) : undefined;
}
