import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readCapture } from "../../test/kit/captures.ts";
import { collectorVerdicts } from "../../test/kit/collector-verdicts.ts";
import { anyRequest, decodeWithProtobufjs, encodeWithProtobufjs } from "../../test/kit/otlp-arbitrary.ts";
import { decodeLogs, decodeTraces } from "./decode.ts";
import { JsonError, jsonToProto, protoToJson } from "./json.ts";
import type { Signal } from "./payload.ts";
import { MAX_VALUE_DEPTH } from "./schema.ts";
import { countItems } from "./validate.ts";

const SIGNALS: Signal[] = ["traces", "metrics", "logs"];

describe("jsonToProto", () => {
  it.each(SIGNALS)(
    "reads the %s that protoToJson writes, in both spellings of keys and however it is spaced",
    (signal) => {
      fc.assert(
        fc.property(anyRequest(signal), (request) => {
          const bytes = encodeWithProtobufjs(signal, request);
          const text = protoToJson(signal, bytes);
          const spaced = JSON.stringify(snake(JSON.parse(text)), null, "\t ");
          const meant = decodeWithProtobufjs(signal, bytes);
          expect(decodeWithProtobufjs(signal, read(signal, text))).toEqual(meant);
          expect(decodeWithProtobufjs(signal, read(signal, spaced))).toEqual(meant);
        }),
        { numRuns: 100 },
      );
    },
  );

  it("reads what the Collector's own writer makes of requests", () => {
    const written = collectorVerdicts("proto").filter(({ json }) => json !== undefined);
    expect(written.length).toBeGreaterThan(200);
    for (const { signal, json = "", proto, items } of written) {
      const ours = read(signal, json);
      expect(oneMark(decodeWithProtobufjs(signal, ours))).toEqual(oneMark(decodeWithProtobufjs(signal, proto)));
      expect(countItems(signal, ours)).toBe(items);
    }
  });

  it("takes and refuses what the Collector takes and refuses, and means the same by it", () => {
    const verdicts = collectorVerdicts("json");
    expect(verdicts.length).toBeGreaterThan(190);
    const stricter: string[] = [];
    for (const { signal, body, error, proto, items } of verdicts) {
      const text = body.toString();
      const ours = tryRead(signal, text);
      if (ours instanceof JsonError) {
        expect([text, error]).toEqual([text, expect.any(String)]);
        continue;
      }
      if (error) {
        stricter.push(text);
        continue;
      }
      expect(countItems(signal, ours)).toBe(items);
      // Once more through our writer, which merges messages in parts and keeps the last member of a oneof.
      const merged = read(signal, protoToJson(signal, ours));
      expect([text, decodeWithProtobufjs(signal, merged)]).toEqual([text, decodeWithProtobufjs(signal, proto)]);
    }
    // Where we follow protobuf's JSON mapping further than the Collector does: integers as 1.0 and 1e3, null for a
    // number, base64 without padding or in the URL's alphabet.
    expect(stricter.map((text) => /"body":(.*)\}\]\}\]\}\]\}$/.exec(text)?.[1])).toEqual([
      '{"intValue":1.0}',
      '{"intValue":1e3}',
      '{"intValue":null}',
      '{"bytesValue":"AP8"}',
      '{"bytesValue":"-_8="}',
      '{"bytesValue":"+\\/8="}',
      '{"bytesValue":"--"}',
    ]);
  });

  it("keeps 64-bit integers exact, as strings and as bare numbers", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.boolean(),
        (int, time, quoted) => {
          const spell = (value: bigint) => (quoted ? `"${value}"` : `${value}`);
          const bytes = read(
            "logs",
            `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":${spell(time)},"body":{"intValue":${spell(int)}}}]}]}]}`,
          );
          expect(decodeLogs(bytes)[0]?.scopeLogs[0]?.logRecords[0]).toMatchObject({ timeUnixNano: time, body: int });
        },
      ),
    );
  });

  it("reads any string as JSON.parse does, escaped or not", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.boolean(), (text, escaped) => {
        const literal = JSON.stringify(text);
        const spelled = escaped ? literal.replace(/[^ -~]/g, escapeUnit).replaceAll("/", "\\/") : literal;
        expect(bodyOf(`{"stringValue":${spelled}}`)).toBe(text);
      }),
    );
    expect(bodyOf('{"stringValue":"\\ud83dx\\ude00\\ud83d\\ud83d\\ude00"}')).toBe("\ufffdx\ufffd\ufffd😀");
  });

  it("reads any double as JSON.parse does", () => {
    fc.assert(
      fc.property(
        fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
        (value) => {
          expect(bodyOf(`{"doubleValue":${JSON.stringify(value)}}`)).toBe(value);
          expect(bodyOf(`{"doubleValue":"${value}"}`)).toBe(value);
        },
      ),
    );
  });

  it("reads any decimal number as JSON.parse does", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^-?(0|[1-9][0-9]{0,16})([.][0-9]{1,17})?(e-?[0-9]{1,2})?$/), (text) => {
        expect(bodyOf(`{"doubleValue":${text}}`)).toBe(JSON.parse(text));
        expect(bodyOf(`{"doubleValue": ${text} }`)).toBe(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  it.each(["00", "01.5", "1.", ".5", "-", "-.5", "1.2.3", "1e", "1.e5", "+1", "0x1", "1_0", "--1", "1.-5"])(
    "refuses %s for a double",
    (text) => {
      expect(() => read("logs", log(`{"doubleValue":${text}}`))).toThrow(JsonError);
    },
  );

  it("makes room when numbers take more bytes than their text", () => {
    const bounds = Array<number>(50_000).fill(1);
    const text = JSON.stringify({
      resourceMetrics: [{ scopeMetrics: [{ metrics: [{ histogram: { dataPoints: [{ explicitBounds: bounds }] } }] }] }],
    });
    const bytes = read("metrics", text);
    expect(bytes.length).toBeGreaterThan(400_000);
    expect(JSON.parse(protoToJson("metrics", bytes))).toEqual(JSON.parse(text));
  });

  it("writes each length with as few bytes as it needs", () => {
    for (const { bytes } of readCapture("proxy-vllm/grpc").payloads) {
      const again = read("traces", protoToJson("traces", bytes));
      expect(again.length).toBeLessThanOrEqual(bytes.length);
      expect(decodeTraces(again)).toEqual(decodeTraces(bytes));
    }
  });

  it.each([
    ["", "expected an object, found the end at byte 0"],
    ['{"resourceSpans":"x"}', 'resourceSpans: expected an array, found "x" at byte 17'],
    ['{"resourceSpans":[{}', "resourceSpans[0]: expected a comma or ], found the end at byte 20"],
    ["{} {}", "expected nothing more, found { at byte 3"],
    [
      span('{"kind":1},{"kind":"x"}'),
      '.spans[1].kind: expected a number or a name such as SPAN_KIND_INTERNAL, found "x" at',
    ],
    [span('{"traceId":"0102"}'), '.spans[0].traceId: expected 32 hex digits or "", found "0102" at'],
    [span('{"spanId":"0102030405060708","parentSpanId":7}'), ".spans[0].parentSpanId: expected a string, found 7 at"],
    [
      span('{"a":{"traceId":[1,{}]},"endTimeUnixNano":-1}'),
      ".spans[0].endTimeUnixNano: expected an integer of 64 bits, not negative, found -1 at",
    ],
    [
      span('{"attributes":[{"key":"k","value":{"bytesValue":"A"}}]}'),
      '.attributes[0].value.bytesValue: expected base64, found "A" at',
    ],
    [
      span('{"links":[{},{"flags":4294967296}]}'),
      ".links[1].flags: expected an integer of 32 bits, not negative, found 4294967296 at",
    ],
  ])("names path, wish and find for %s", (text, message) => {
    const error = tryRead("traces", text);
    expect(error).toBeInstanceOf(JsonError);
    expect((error as JsonError).message).toContain(message);
  });

  it("refuses values nested deeper than MAX_VALUE_DEPTH, and takes them up to it", () => {
    const nested = (depth: number) => `${'{"arrayValue":{"values":['.repeat(depth - 1)}{}${"]}}".repeat(depth - 1)}`;
    expect(countItems("logs", read("logs", log(nested(MAX_VALUE_DEPTH))))).toBe(1);
    expect(() => read("logs", log(nested(MAX_VALUE_DEPTH + 1)))).toThrow("at most 64 values inside one another");
  });

  it.each(["[", '{"a":', '[{"a":'])(
    "refuses unknown fields of a hundred thousand %s without overflowing the stack",
    (open) => {
      expect(() => read("traces", `{"x":${open.repeat(100_000)}`)).toThrow("inside one another");
    },
  );

  it("gives bytes or a JsonError for any text, and reads nothing beyond its end", () => {
    const broken = fc.tuple(anyRequest("traces"), fc.nat(), fc.nat(255), fc.nat(3)).map(([request, at, byte, how]) => {
      const text = Buffer.from(protoToJson("traces", encodeWithProtobufjs("traces", request)));
      const where = at % text.length;
      if (how === 0) return text.subarray(0, where);
      if (how === 1) return Buffer.concat([text.subarray(0, where), text.subarray(where + 1)]);
      text[where] = byte;
      return text;
    });
    const tokens = fc
      .array(fc.constantFrom(...'{ } [ ] : , "resourceSpans" "x" 1 -1.5e3 null true "\\u00'.split(" ")))
      .map((list) => Buffer.from(list.join("")));
    fc.assert(
      fc.property(fc.oneof(broken, tokens, fc.uint8Array()), (text) => {
        const surrounded = Buffer.concat([Buffer.from(']}"'), text, Buffer.from('"}]1')]);
        const ours = tryRead("traces", text);
        expect(tryRead("traces", surrounded.subarray(3, 3 + text.length))).toEqual(ours);
        if (!(ours instanceof JsonError)) expect(countItems("traces", ours)).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 400 },
    );
  });
});

describe("protoToJson", () => {
  it.each(SIGNALS)("writes %s that mean what the Collector's JSON means", (signal) => {
    const accepted = collectorVerdicts("proto").filter((verdict) => verdict.signal === signal && verdict.json);
    expect(accepted.length).toBeGreaterThan(50);
    for (const { body, json = "" } of accepted)
      expect(oneMark(withoutNothing(JSON.parse(protoToJson(signal, body))))).toEqual(
        oneMark(withoutNothing(JSON.parse(json))),
      );
  });

  it("spells ids as hex, 64-bit integers as strings, enums as numbers, bytes as base64, non-finite doubles as text", () => {
    const bytes = encodeWithProtobufjs("traces", {
      resourceSpans: [
        {
          scopeSpans: [
            {
              spans: [
                {
                  traceId: Buffer.alloc(16, 0xab),
                  kind: 2,
                  startTimeUnixNano: "18446744073709551615",
                  attributes: [
                    { key: "i", value: { intValue: "-9223372036854775808" } },
                    { key: "b", value: { bytesValue: Buffer.from([251, 255]) } },
                    { key: "n", value: { doubleValue: Number.NaN } },
                    { key: "f", value: { doubleValue: Number.NEGATIVE_INFINITY } },
                    { key: "z", value: { doubleValue: -0 } },
                    { key: "e", value: { stringValue: "" } },
                  ],
                },
              ],
            },
          ],
        },
      ],
    });
    expect(protoToJson("traces", bytes)).toBe(
      `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"${"ab".repeat(16)}","kind":2,"startTimeUnixNano":"18446744073709551615","attributes":[${[
        '{"key":"i","value":{"intValue":"-9223372036854775808"}}',
        '{"key":"b","value":{"bytesValue":"+/8="}}',
        '{"key":"n","value":{"doubleValue":"NaN"}}',
        '{"key":"f","value":{"doubleValue":"-Infinity"}}',
        '{"key":"z","value":{"doubleValue":"-0"}}',
        '{"key":"e","value":{"stringValue":""}}',
      ].join(",")}]}]}]}]}`,
    );
  });
});

function read(signal: Signal, text: string): Buffer {
  return jsonToProto(signal, Buffer.from(text));
}

function tryRead(signal: Signal, text: string | Uint8Array): Buffer | JsonError {
  try {
    return jsonToProto(signal, Buffer.from(text));
  } catch (error) {
    if (error instanceof JsonError) return error;
    throw error;
  }
}

function span(spans: string): string {
  return `{"resourceSpans":[{"scopeSpans":[{"spans":[${spans}]}]}]}`;
}

function log(body: string): string {
  return `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":${body}}]}]}]}`;
}

function bodyOf(body: string): unknown {
  return decodeLogs(read("logs", log(body)))[0]?.scopeLogs[0]?.logRecords[0]?.body;
}

function escapeUnit(char: string): string {
  return [...Array(char.length).keys()].map((i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`).join("");
}

function snake(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snake);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      snake(inner),
    ]),
  );
}

/** Go writes U+FFFD once a broken byte, JavaScript once a broken sequence. */
function oneMark(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replace(/\ufffd+/g, "\ufffd"));
}

/** Leaves out empty objects, which the Collector writes for what is absent, all-zero ids, which it does not write, and -0, which it writes only of some fields. */
function withoutNothing(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNothing);
  if (typeof value !== "object" || value === null) return value === "-0" ? -0 : value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, inner]) => [key, withoutNothing(inner)] as const)
      .filter(
        ([key, inner]) => !(/Id$/.test(key) && /^0+$/.test(String(inner))) && !isEmpty(inner) && !Object.is(inner, -0),
      ),
  );
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}
