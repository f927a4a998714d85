import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyRequest, encodeWithProtobufjs, requestType } from "../../test/kit/otlp-arbitrary.ts";
import { concatBatches } from "./concat.ts";
import type { OtlpBatch, Signal } from "./payload.ts";
import { countItems } from "./validate.ts";

const signals: readonly Signal[] = ["traces", "metrics", "logs"];

function batchOf(signal: Signal, request: object): OtlpBatch<Signal> {
  const bytes = encodeWithProtobufjs(signal, request);
  return { signal, bytes, items: countItems(signal, bytes) };
}

describe("concatBatches", () => {
  it.each(signals)("of %s is, to protobufjs, one request with all resources in order", (signal) => {
    const type = requestType(signal);
    const list = type.fieldsArray[0]?.name ?? expect.fail("a request has one field");
    const resources = (bytes: Uint8Array): unknown[] => (type.toObject(type.decode(bytes)) as never)[list] ?? [];
    fc.assert(
      fc.property(fc.array(anyRequest(signal), { minLength: 1, maxLength: 4 }), (requests) => {
        const [first, ...rest] = requests.map((request) => batchOf(signal, request));
        const whole = concatBatches([first as OtlpBatch<Signal>, ...rest]);
        expect(resources(whole.bytes)).toEqual(
          [first, ...rest].flatMap((batch) => resources(batch?.bytes ?? Buffer.of())),
        );
        expect(whole.items).toBe(countItems(signal, whole.bytes));
      }),
      { numRuns: 30 },
    );
  });

  it("gives a single batch back itself", () => {
    const batch = batchOf("logs", {});
    expect(concatBatches([batch])).toBe(batch);
  });
});
