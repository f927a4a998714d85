import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readCapture } from "../../test/kit/captures.ts";
import { collectorVerdicts } from "../../test/kit/collector-verdicts.ts";
import { anyRequest, encodeWithProtobufjs } from "../../test/kit/otlp-arbitrary.ts";
import type { Signal } from "./payload.ts";
import { MAX_VALUE_DEPTH } from "./schema.ts";
import { countItems } from "./validate.ts";
import { LEN, WireError, WireWriter } from "./wire.ts";

const SIGNALS: Signal[] = ["traces", "metrics", "logs"];

describe("countItems", () => {
  it("counts the spans of real requests", () => {
    const spans = (capture: string) =>
      readCapture(capture).payloads.reduce((sum, { bytes }) => sum + countItems("traces", bytes), 0);
    expect(spans("proxy-vllm/grpc")).toBe(166);
  });

  it("says of every request what the Collector says", () => {
    const verdicts = collectorVerdicts("proto");
    expect(verdicts.length).toBeGreaterThan(550);
    for (const { signal, body, error, items } of verdicts) {
      expect([body.toString("hex"), verdictOf(signal, body)]).toEqual([body.toString("hex"), error ?? items]);
    }
  });

  it.each(SIGNALS)("takes any legal %s request and counts what is in it", (signal) => {
    fc.assert(
      fc.property(anyRequest(signal), (request) => {
        expect(countItems(signal, encodeWithProtobufjs(signal, request))).toBe(count(signal, request));
      }),
      { numRuns: 150 },
    );
  });

  it.each(SIGNALS)(
    "gives a number or a WireError for broken %s requests, and reads nothing beyond their end",
    (signal) => {
      const broken = fc
        .tuple(anyRequest(signal), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }), fc.nat())
        .map(([request, changes, end]) => {
          const bytes = encodeWithProtobufjs(signal, request);
          for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
          return bytes.subarray(0, bytes.length - (end % 3 === 0 ? end % (bytes.length + 1) : 0));
        });
      fc.assert(
        fc.property(fc.oneof(broken, fc.uint8Array()), fc.uint8Array({ maxLength: 20 }), (bytes, after) => {
          const inside = Buffer.concat([bytes, after]).subarray(0, bytes.length);
          expect(verdictOf(signal, inside)).toEqual(verdictOf(signal, Uint8Array.from(bytes)));
        }),
        { numRuns: 300 },
      );
    },
  );

  it("refuses values nested deeper than MAX_VALUE_DEPTH, and takes them up to it", () => {
    expect(countItems("logs", logWithBody(MAX_VALUE_DEPTH))).toBe(1);
    expect(() => countItems("logs", logWithBody(MAX_VALUE_DEPTH + 1))).toThrow(
      new WireError("proto: more than 64 values inside one another"),
    );
  });

  it("refuses, and does not overflow the stack, when values nest a hundred thousand deep", () => {
    expect(() => countItems("logs", logWithBody(100_000))).toThrow(WireError);
  });

  it("takes time in proportion when a resource has very many scopes of the old form", () => {
    const scopes = Buffer.concat(Array<Buffer>(300_000).fill(Buffer.from([0xc2, 0x3e, 2, 0x12, 0])));
    const request = new WireWriter().bytes(1, scopes).finish();
    const started = performance.now();
    expect(countItems("traces", request)).toBe(300_000);
    expect(performance.now() - started).toBeLessThan(3000);
  });

  it("takes strings that are no UTF-8, as the Collector does", () => {
    const span = new WireWriter().bytes(5, Uint8Array.of(0xff, 0xfe, 0x80)).finish();
    const request = new WireWriter().message(1, (r) => r.message(2, (s) => s.bytes(2, span))).finish();
    expect(countItems("traces", request)).toBe(1);
  });
});

function verdictOf(signal: Signal, bytes: Uint8Array): number | string {
  try {
    return countItems(signal, bytes);
  } catch (error) {
    if (error instanceof WireError) return error.message;
    throw error;
  }
}

/** A log record whose body holds `depth` values inside one another. */
function logWithBody(depth: number): Uint8Array {
  // From the inside: the innermost value is empty; each further one has an array of the last.
  const heads: Buffer[] = [];
  let length = 0;
  const wrap = (field: number) => {
    const head = new WireWriter().tag(field, LEN).varint(length).finish();
    heads.push(head);
    length += head.length;
  };
  for (let i = 1; i < depth; i++) {
    wrap(1);
    wrap(5);
  }
  for (const field of [5, 2, 2, 1]) wrap(field);
  return Buffer.concat(heads.reverse());
}

/** Counts in the object from which a request was made. */
function count(signal: Signal, request: Record<string, unknown>): number {
  const steps = {
    traces: [["resourceSpans"], ["scopeSpans"], ["spans"]],
    logs: [["resourceLogs"], ["scopeLogs"], ["logRecords"]],
    metrics: [
      ["resourceMetrics"],
      ["scopeMetrics"],
      ["metrics"],
      ["gauge", "sum", "histogram", "exponentialHistogram", "summary"],
      ["dataPoints"],
    ],
  }[signal];
  let level = [request];
  for (const names of steps)
    level = level.flatMap((object) => names.flatMap((name) => (object[name] ?? []) as Record<string, unknown>[]));
  return level.length;
}
