import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { statusJson } from "../rpcstatus.ts";
import { encodeGrpcMessage, errorTrailers, GrpcError, parseGrpcTimeout } from "./status.ts";

describe("encodeGrpcMessage", () => {
  it("leaves plain ASCII alone and encodes the rest of UTF-8 byte by byte", () => {
    expect(encodeGrpcMessage("unknown service x")).toBe("unknown service x");
    expect(encodeGrpcMessage("100 %\n")).toBe("100 %25%0A");
    expect(encodeGrpcMessage("é")).toBe("%C3%A9");
  });

  it("is undone by percent-decoding", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
        const encoded = encodeGrpcMessage(text);
        expect(encoded).toMatch(/^[ -~]*$/);
        expect(decodeURIComponent(encoded)).toBe(Buffer.from(text).toString());
      }),
    );
  });

  it("shortens messages that would not fit a client's header limit", () => {
    const encoded = encodeGrpcMessage("x".repeat(5000));
    expect(encoded.length).toBe(1024);
    expect(encoded.endsWith("...")).toBe(true);
  });
});

describe("errorTrailers", () => {
  it("has no details when no wait is known", () => {
    expect(errorTrailers(new GrpcError(14, "down"))).toEqual({ "grpc-status": "14", "grpc-message": "down" });
  });

  it("sends RetryInfo both as status details and as the trailer that the Python exporter reads", () => {
    const trailers = errorTrailers(new GrpcError(14, "full", 1500));
    // RetryInfo { retry_delay { seconds: 1 nanos: 500000000 } }
    const retryInfo = "0a0808011080cab5ee01";
    expect(Buffer.from(trailers["google.rpc.retryinfo-bin"] as string, "base64").toString("hex")).toBe(retryInfo);
    const details = Buffer.from(trailers["grpc-status-details-bin"] as string, "base64");
    expect(details.subarray(0, 8).toString("hex")).toBe("080e120466756c6c");
    expect(details.toString("latin1")).toContain("type.googleapis.com/google.rpc.RetryInfo");
    expect(details.toString("hex").endsWith(retryInfo)).toBe(true);
    expect(trailers["grpc-status-details-bin"]).not.toContain("=");
  });
});

describe("statusJson", () => {
  it("is as protojson writes it", () => {
    expect(JSON.parse(statusJson(3, "bad"))).toEqual({ code: 3, message: "bad" });
    expect(JSON.parse(statusJson(14, "full", 1500)).details).toEqual([
      { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "1.5s" },
    ]);
  });
});

describe("parseGrpcTimeout", () => {
  it.each([
    ["5S", 5000],
    ["100m", 100],
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["1500u", 1.5],
    ["99999999n", 99.999999],
    ["0S", 0],
  ])("reads %s", (text, ms) => {
    expect(parseGrpcTimeout(text)).toBeCloseTo(ms, 6);
  });

  it.each(["", "5", "S", "123456789S", "-1S", "1.5S", "5s"])("refuses %j", (text) => {
    expect(parseGrpcTimeout(text)).toBeUndefined();
  });
});
