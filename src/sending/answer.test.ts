import { describe, expect, it } from "vitest";
import { FakeClock } from "../../test/kit/clock.ts";
import { protoRoot } from "../../test/kit/proto.ts";
import { testSettings } from "../../test/kit/settings.ts";
import { createLogger } from "../telemetry/logger.ts";
import {
  decodePartialSuccess,
  decodeStatus,
  isRetryableCode,
  PartialSuccessReport,
  parsePartialSuccessJson,
  parseStatusJson,
} from "./answer.ts";

const root = protoRoot();
const encode = (type: string, value: object): Uint8Array => {
  const found = root.lookupType(type);
  return found.encode(found.fromObject(value)).finish();
};
const status = (retryDelay: object | undefined): Uint8Array =>
  encode("google.rpc.Status", {
    code: 14,
    message: "busy",
    details: [
      { typeUrl: "type.googleapis.com/google.rpc.Other", value: Buffer.from([8, 1]) },
      ...(retryDelay
        ? [
            {
              typeUrl: "type.googleapis.com/google.rpc.RetryInfo",
              value: encode("google.rpc.RetryInfo", { retryDelay }),
            },
          ]
        : []),
    ],
  });

describe("decodeStatus", () => {
  it.each([
    [undefined, undefined],
    [{ seconds: 2, nanos: 500_000_000 }, 2500],
    [{}, 0],
    [{ seconds: -5 }, 0],
  ])("reads what protobufjs writes, with a delay of %j", (delay, retryAfterMs) => {
    expect(decodeStatus(status(delay))).toEqual({ code: 14, message: "busy", retryAfterMs });
  });

  it("throws when the bytes are cut short", () => {
    expect(() => decodeStatus(status({ seconds: 1 }).subarray(0, -1))).toThrow("unexpected EOF");
  });
});

describe("parseStatusJson", () => {
  it("reads code, message and RetryInfo", () => {
    const text = JSON.stringify({
      code: 8,
      message: "slow down",
      details: [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "1.5s" }],
    });
    expect(parseStatusJson(text)).toEqual({ code: 8, message: "slow down", retryAfterMs: 1500 });
    expect(parseStatusJson('{"code":3}')).toEqual({ code: 3, message: "", retryAfterMs: undefined });
  });

  it.each(["", "not found", "[]", "null"])("gives nothing for %j", (text) => {
    expect(parseStatusJson(text)).toBeUndefined();
  });
});

describe("decodePartialSuccess", () => {
  it.each([
    ["opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse", "rejectedSpans"],
    ["opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceResponse", "rejectedDataPoints"],
    ["opentelemetry.proto.collector.logs.v1.ExportLogsServiceResponse", "rejectedLogRecords"],
  ])("reads %s", (type, key) => {
    const bytes = encode(type, { partialSuccess: { [key]: 7, errorMessage: "too old" } });
    expect(decodePartialSuccess(bytes)).toEqual({ rejected: 7, message: "too old" });
    const json = JSON.stringify({ partialSuccess: { [key]: "7", errorMessage: "too old" } });
    expect(parsePartialSuccessJson(json)).toEqual({ rejected: 7, message: "too old" });
  });

  it("reads an empty answer as full success", () => {
    expect(decodePartialSuccess(new Uint8Array(0))).toEqual({ rejected: 0, message: "" });
    expect(parsePartialSuccessJson("{}")).toEqual({ rejected: 0, message: "" });
  });
});

describe("isRetryableCode", () => {
  it("follows OTLP: RESOURCE_EXHAUSTED only with RetryInfo", () => {
    const codes = Array.from({ length: 17 }, (_, code) => code);
    expect(codes.filter((code) => isRetryableCode(code, undefined))).toEqual([1, 4, 10, 11, 14, 15]);
    expect(codes.filter((code) => isRetryableCode(code, 0))).toEqual([1, 4, 8, 10, 11, 14, 15]);
  });
});

describe("PartialSuccessReport", () => {
  it("note logs once a minute with the sum, and counts every one", async () => {
    const clock = new FakeClock();
    const lines: string[] = [];
    const logger = createLogger({ level: "info", encoding: "json", write: (line) => lines.push(line) });
    const settings = testSettings("otlp_grpc/jaeger", { clock, logger });
    const report = new PartialSuccessReport(settings);
    report.note("traces", { rejected: 0, message: "" });
    for (let at = 0; at < 3; at++) report.note("traces", { rejected: 2, message: "too old" });
    await clock.advance(60_000);
    report.note("traces", { rejected: 1, message: "too old" });
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { level: "warn", msg: "Partial success response", message: "too old", dropped_spans: 2, responses: 1 },
      { dropped_spans: 5, responses: 3 },
    ]);
    expect(await settings.metrics.text()).toContain(
      'omnishim_exporter_rejected_items{exporter="otlp_grpc/jaeger",data_type="traces"} 7',
    );
  });
});
