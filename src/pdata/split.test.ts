import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readCapture } from "../../test/kit/captures.ts";
import { collectorVerdicts } from "../../test/kit/collector-verdicts.ts";
import { anyRequest, encodeWithProtobufjs } from "../../test/kit/otlp-arbitrary.ts";
import { protoToJson } from "./json.ts";
import type { OtlpBatch, Signal } from "./payload.ts";
import { splitBatch } from "./split.ts";
import { countItems } from "./validate.ts";
import { WireCursor, WireWriter } from "./wire.ts";

const SIGNALS: Signal[] = ["traces", "metrics", "logs"];

describe("splitBatch", () => {
  it.each(SIGNALS)("keeps every item of %s in its place, with all that is above it", (signal) => {
    fc.assert(
      fc.property(
        fc.array(anyRequest(signal), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 6 }),
        (requests, maxItems) => {
          const batch = batchOf(
            signal,
            Buffer.concat(requests.map((request) => encodeWithProtobufjs(signal, request))),
          );
          const pieces = splitBatch(batch, maxItems);
          expectPieces(batch, pieces, maxItems);
        },
      ),
      { numRuns: 150 },
    );
  });

  it.each([1, 2, 7, 50])("splits real requests into pieces of %i", (maxItems) => {
    const bytes = Buffer.concat(readCapture("proxy-vllm/grpc").payloads.map((payload) => payload.bytes));
    const batch = batchOf("traces", bytes);
    expect(batch.items).toBe(166);
    const pieces = splitBatch(batch, maxItems);
    expect(pieces).toHaveLength(Math.ceil(166 / maxItems));
    expectPieces(batch, pieces, maxItems);
  });

  it.each(SIGNALS)(
    "splits odd %s that the Collector takes: scopes of the old form, oneofs given twice, messages in parts",
    (signal) => {
      const accepted = collectorVerdicts("proto").filter((verdict) => verdict.signal === signal && !verdict.error);
      const batch = batchOf(signal, Buffer.concat(accepted.map(({ body }) => body)));
      expect(batch.items).toBe(accepted.reduce((sum, { items }) => sum + items, 0));
      expect(batch.items).toBeGreaterThan(20);
      for (const maxItems of [1, 2, 3, 10]) expectPieces(batch, splitBatch(batch, maxItems), maxItems);
    },
  );

  it("gives back the batch itself when it is small enough", () => {
    const batch = batchOf("traces", readCapture("proxy-vllm/grpc").payloads[0]?.bytes ?? Buffer.alloc(0));
    expect(splitBatch(batch, batch.items)).toEqual([batch]);
    expect(splitBatch(batch, batch.items)[0]).toBe(batch);
  });

  it("repeats unknown fields of resource, scope and metric in every piece, and keeps an item's bytes", () => {
    const unknown = (writer: WireWriter) => writer.string(900, "from a later version");
    const point = new WireWriter().fixed64(3, 7n).string(901, "of the point").finish();
    const bytes = new WireWriter()
      .message(1, (resource) =>
        unknown(resource).message(2, (scope) =>
          unknown(scope).message(2, (metric) =>
            unknown(metric.string(1, "m")).message(7, (sum) =>
              unknown(sum.bytes(1, point).bytes(1, point).uint(2, 2).uint(3, 1)),
            ),
          ),
        ),
      )
      .finish();
    const pieces = splitBatch(batchOf("metrics", bytes), 1);
    expect(pieces).toHaveLength(2);
    for (const piece of pieces) {
      expect(JSON.parse(protoToJson("metrics", piece.bytes)).resourceMetrics[0].scopeMetrics[0].metrics).toEqual([
        { name: "m", sum: { dataPoints: [{ timeUnixNano: "7" }], aggregationTemporality: 2, isMonotonic: true } },
      ]);
      const text = Buffer.from(piece.bytes).toString("latin1");
      expect(text.split("from a later version")).toHaveLength(5);
      expect(Buffer.from(piece.bytes).includes(point)).toBe(true);
    }
  });

  it.each([0, -1, 1.5, Number.NaN])("throws a RangeError when maxItems is %d", (maxItems) => {
    expect(() => splitBatch({ signal: "traces", bytes: new Uint8Array(), items: 0 }, maxItems)).toThrow(RangeError);
  });
});

function batchOf<S extends Signal>(signal: S, bytes: Uint8Array): OtlpBatch<S> {
  return { signal, bytes, items: countItems(signal, bytes) };
}

function expectPieces<S extends Signal>(batch: OtlpBatch<S>, pieces: OtlpBatch<S>[], maxItems: number): void {
  for (const [i, piece] of pieces.entries()) {
    expect(countItems(batch.signal, piece.bytes)).toBe(piece.items);
    if (pieces.length > 1 && i < pieces.length - 1) expect(piece.items).toBe(maxItems);
    expect(piece.items).toBeLessThanOrEqual(maxItems);
    if (batch.items > 0) expect(piece.items).toBeGreaterThan(0);
  }
  const together = Buffer.concat(pieces.map((piece) => piece.bytes));
  expect(itemsOf(batch.signal, together)).toEqual(itemsOf(batch.signal, batch.bytes));
}

/** Each item with a copy of everything above it, in order. */
function itemsOf(signal: Signal, bytes: Uint8Array): unknown[] {
  let level: { path: unknown[]; value: unknown }[] = [{ path: [], value: JSON.parse(protoToJson(signal, bytes)) }];
  const steps = {
    traces: ["resourceSpans", "scopeSpans", "spans"],
    logs: ["resourceLogs", "scopeLogs", "logRecords"],
    metrics: [
      "resourceMetrics",
      "scopeMetrics",
      "metrics",
      "gauge sum histogram exponentialHistogram summary",
      "dataPoints",
    ],
  }[signal];
  for (const names of steps)
    level = level.flatMap(({ path, value }) => {
      const { [names.split(" ").find((name) => name in (value as object)) ?? ""]: inner, ...head } = value as Record<
        string,
        unknown
      >;
      const children = inner === undefined ? [] : Array.isArray(inner) ? inner : [inner];
      return children.map((child) => ({ path: [...path, head], value: child }));
    });
  return level;
}

describe("itemsOf", () => {
  it("sees a lost resource", () => {
    const batch = batchOf("traces", readCapture("proxy-vllm/grpc").payloads[0]?.bytes ?? Buffer.alloc(0));
    const cursor = new WireCursor(batch.bytes);
    cursor.next();
    const resource = new WireCursor(batch.bytes, cursor.valueStart, cursor.valueEnd);
    const without = new WireWriter().message(1, (writer) => {
      while (resource.next()) if (resource.field !== 1) writer.raw(resource.bytes, resource.start, resource.valueEnd);
    });
    expect(itemsOf("traces", without.finish())).not.toEqual(
      itemsOf("traces", batch.bytes.subarray(0, cursor.valueEnd)),
    );
  });
});
