/** What a sender is told when a batch was not taken: one table for both protocols. */
import type { ConsumeError } from "../../kernel/errors.ts";
import { GrpcCode, GrpcError } from "../../transport/grpc/status.ts";

/**
 * Longest wait that is asked for. The Python SDK has ten seconds for an export with all its retries and drops the batch
 * at once when it is asked to wait longer than what is left.
 */
export const LONGEST_RETRY_MS = 3000;

/** Codes on which a sender tries again (OTLP 1.11, "Failures"); RESOURCE_EXHAUSTED only with RetryInfo, so not here. */
const RETRYABLE: ReadonlySet<number> = new Set([
  GrpcCode.CANCELLED,
  GrpcCode.DEADLINE_EXCEEDED,
  GrpcCode.ABORTED,
  GrpcCode.OUT_OF_RANGE,
  GrpcCode.UNAVAILABLE,
  GrpcCode.DATA_LOSS,
]);

/**
 * The status of a refused batch. A code that came from downstream is passed on where it says the same as the error:
 *
 * | error | downstream's code | sent |
 * |---|---|---|
 * | retryable | RESOURCE_EXHAUSTED, and a wait is known | RESOURCE_EXHAUSTED with RetryInfo |
 * | retryable | another retryable code | that code |
 * | retryable | none, or a code that is not retryable | UNAVAILABLE |
 * | permanent | a code that is not retryable | that code |
 * | permanent | none, or a retryable code | INTERNAL |
 */
export function refusal(error: ConsumeError): GrpcError {
  const { grpcCode } = error;
  if (error.disposition === "permanent") {
    const usable = grpcCode !== undefined && grpcCode !== GrpcCode.OK && !RETRYABLE.has(grpcCode);
    return new GrpcError(usable ? grpcCode : GrpcCode.INTERNAL, error.message);
  }
  const waitMs = error.retryAfterMs === undefined ? undefined : Math.min(error.retryAfterMs, LONGEST_RETRY_MS);
  if (grpcCode === GrpcCode.RESOURCE_EXHAUSTED && waitMs !== undefined)
    return new GrpcError(grpcCode, error.message, waitMs);
  return new GrpcError(
    grpcCode !== undefined && RETRYABLE.has(grpcCode) ? grpcCode : GrpcCode.UNAVAILABLE,
    error.message,
    waitMs,
  );
}

/** The HTTP status of a gRPC code (the Collector's internal/errors.GetHTTPStatusCodeFromStatus, 0.104 and newer). */
export function httpStatus(code: number): number {
  switch (code) {
    case GrpcCode.CANCELLED:
    case GrpcCode.DEADLINE_EXCEEDED:
    case GrpcCode.ABORTED:
    case GrpcCode.OUT_OF_RANGE:
    case GrpcCode.UNAVAILABLE:
    case GrpcCode.DATA_LOSS:
      return 503;
    case GrpcCode.RESOURCE_EXHAUSTED:
      return 429;
    case GrpcCode.INVALID_ARGUMENT:
      return 400;
    case GrpcCode.UNAUTHENTICATED:
      return 401;
    case GrpcCode.PERMISSION_DENIED:
      return 403;
    case GrpcCode.UNIMPLEMENTED:
      return 404;
    default:
      return 500;
  }
}

/** The gRPC code in the body of an answer with this HTTP status (the Collector's statusutil, and 413, which it has not). */
export function codeOfHttpStatus(status: number): number {
  switch (status) {
    case 400:
    case 413:
      return GrpcCode.INVALID_ARGUMENT;
    case 401:
      return GrpcCode.UNAUTHENTICATED;
    case 403:
      return GrpcCode.PERMISSION_DENIED;
    case 404:
      return GrpcCode.UNIMPLEMENTED;
    case 429:
      return GrpcCode.RESOURCE_EXHAUSTED;
    case 502:
    case 503:
    case 504:
      return GrpcCode.UNAVAILABLE;
    default:
      return GrpcCode.UNKNOWN;
  }
}
