import { describe, expect, it } from "vitest";
import { ConsumeError } from "../../kernel/errors.ts";
import { codeOfHttpStatus, httpStatus, LONGEST_RETRY_MS, refusal } from "./outcome.ts";

describe("refusal", () => {
  it.each<["retryable" | "permanent", number | undefined, number | undefined, number, number | undefined]>([
    ["retryable", undefined, undefined, 14, undefined],
    ["retryable", undefined, 1000, 14, 1000],
    ["retryable", 8, 1000, 8, 1000],
    // Without RetryInfo RESOURCE_EXHAUSTED is not retryable to a client that keeps to the specification.
    ["retryable", 8, undefined, 14, undefined],
    ["retryable", 4, undefined, 4, undefined],
    ["retryable", 13, undefined, 14, undefined],
    ["permanent", undefined, undefined, 13, undefined],
    ["permanent", 3, undefined, 3, undefined],
    ["permanent", 16, 1000, 16, undefined],
    ["permanent", 14, undefined, 13, undefined],
    ["permanent", 0, undefined, 13, undefined],
  ])(
    "of a %s error with code %s and a wait of %s ms is code %i",
    (disposition, grpcCode, retryAfterMs, code, waitMs) => {
      const sent = refusal(new ConsumeError(disposition, "sending queue is full", { grpcCode, retryAfterMs }));
      expect([sent.code, sent.retryAfterMs, sent.message]).toEqual([code, waitMs, "sending queue is full"]);
    },
  );

  it("asks for no longer wait than the Python SDK waits", () => {
    expect(refusal(new ConsumeError("retryable", "x", { retryAfterMs: 60_000 })).retryAfterMs).toBe(LONGEST_RETRY_MS);
  });
});

describe("httpStatus", () => {
  it("is the Collector's table", () => {
    const statuses = Array.from({ length: 17 }, (_, code) => httpStatus(code));
    expect(statuses).toEqual([500, 503, 500, 400, 503, 500, 500, 403, 429, 500, 503, 503, 404, 500, 503, 503, 401]);
  });
});

describe("codeOfHttpStatus", () => {
  it("is the Collector's table, and INVALID_ARGUMENT for 413", () => {
    const codes = [400, 401, 403, 404, 413, 429, 500, 502, 503, 504].map(codeOfHttpStatus);
    expect(codes).toEqual([3, 16, 7, 12, 3, 8, 2, 14, 14, 14]);
  });
});
