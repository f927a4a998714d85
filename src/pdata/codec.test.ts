import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readCapture } from "../../test/kit/captures.ts";
import { collectorVerdicts } from "../../test/kit/collector-verdicts.ts";
import { anyRequest, encodeWithProtobufjs, requestType } from "../../test/kit/otlp-arbitrary.ts";
import { decodeLogs, decodeTraces } from "./decode.ts";
import { encodeLogs, encodeTraces } from "./encode.ts";
import { type AttributeValue, attribute, type KeyValue, SPAN_KIND, STATUS_CODE } from "./model.ts";
import { WireError, WireWriter } from "./wire.ts";

const CAPTURES = [
  "proxy-vllm/grpc",
  "proxy-vllm/grpc-trace-force-detailed",
  "proxy-vllm/vllm085-grpc-n2-crash",
  "vllm-direct/grpc",
];

describe("decodeTraces", () => {
  it.each(CAPTURES)("reads every span of %s as protobufjs does", (name) => {
    const { payloads } = readCapture(name);
    expect(payloads.length).toBeGreaterThan(0);
    for (const { bytes } of payloads) expect(decodeTraces(bytes)).toEqual(tracesByProtobufjs(bytes));
  });

  it("reads any request as protobufjs does", () => {
    fc.assert(
      fc.property(anyRequest("traces"), (request) => {
        const bytes = encodeWithProtobufjs("traces", request);
        expect(decodeTraces(bytes)).toEqual(tracesByProtobufjs(bytes));
      }),
      { numRuns: 150 },
    );
  });

  it("reads in broken and odd bytes what the Collector reads in them", () => {
    const accepted = collectorVerdicts("proto").filter(({ signal, error }) => signal === "traces" && !error);
    expect(accepted.length).toBeGreaterThan(75);
    // What the Collector sends on: without unknown fields, parts merged, scopes of the old form moved.
    for (const { body, proto } of accepted) expect(withoutNoIds(decodeTraces(body))).toEqual(decodeTraces(proto));
  });

  it("reads a vLLM span", () => {
    const resources = readCapture("proxy-vllm/grpc").payloads.flatMap(({ bytes }) => decodeTraces(bytes));
    const spans = resources.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans));
    const span = spans.find(({ name }) => name === "llm_request");
    expect(resources[0]?.resource.attributes.map(({ key }) => key)).toContain("service.name");
    expect(span).toMatchObject({
      kind: SPAN_KIND.SERVER,
      traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
      spanId: expect.stringMatching(/^[0-9a-f]{16}$/),
      startUnixNano: expect.any(BigInt),
      status: { code: STATUS_CODE.UNSET, message: "" },
    });
    expect(attribute(span?.attributes ?? [], "gen_ai.request.id")).toEqual(expect.any(String));
    expect(attribute(span?.attributes ?? [], "gen_ai.usage.completion_tokens")).toEqual(expect.any(BigInt));
    expect(attribute(span?.attributes ?? [], "no.such.key")).toBeUndefined();
  });

  it("throws a WireError when the request is truncated", () => {
    const { bytes } = readCapture("proxy-vllm/grpc").payloads[0] ?? { bytes: Buffer.alloc(0) };
    expect(() => decodeTraces(bytes.subarray(0, -1))).toThrow(new WireError("unexpected EOF"));
  });

  it("does not share memory with the request", () => {
    const bytes = encodeTraces([
      { scopeSpans: [{ spans: [{ attributes: [{ key: "b", value: Uint8Array.of(7) }] }] }] },
    ]);
    const decoded = decodeTraces(bytes);
    bytes.fill(0);
    expect(decoded[0]?.scopeSpans[0]?.spans[0]?.attributes).toEqual([{ key: "b", value: Uint8Array.of(7) }]);
  });
});

describe("decodeLogs", () => {
  it("reads any request as protobufjs does", () => {
    fc.assert(
      fc.property(anyRequest("logs"), (request) => {
        const bytes = encodeWithProtobufjs("logs", request);
        expect(decodeLogs(bytes)).toEqual(logsByProtobufjs(bytes));
      }),
      { numRuns: 150 },
    );
  });

  it("takes scopes of the old form where there are no others", () => {
    const scope = new WireWriter().message(2, (record) => record.string(3, "old")).finish();
    const old = new WireWriter().message(1, (resource) => resource.bytes(1000, scope)).finish();
    const both = new WireWriter()
      .message(1, (resource) => resource.bytes(1000, scope).bytes(2, new Uint8Array()))
      .finish();
    expect(decodeLogs(old)[0]?.scopeLogs[0]?.logRecords[0]?.severityText).toBe("old");
    expect(decodeLogs(both)[0]?.scopeLogs).toHaveLength(1);
    expect(decodeLogs(both)[0]?.scopeLogs[0]?.logRecords).toHaveLength(0);
  });
});

describe("encodeTraces", () => {
  it("writes what decodeTraces and protobufjs read back, whatever the spans", () => {
    fc.assert(
      fc.property(anyRequest("traces"), (request) => {
        const spans = decodeTraces(encodeWithProtobufjs("traces", request));
        const bytes = encodeTraces(spans);
        expect(decodeTraces(bytes)).toEqual(spans);
        expect(tracesByProtobufjs(bytes)).toEqual(spans);
      }),
      { numRuns: 150 },
    );
  });

  it("writes the bytes that protobufjs writes", () => {
    const ids = { traceId: "0102030405060708090a0b0c0d0e0f10", spanId: "00000000000000ff" };
    const ours = encodeTraces([
      {
        resource: { attributes: [{ key: "service.name", value: "omni-proxy" }] },
        scopeSpans: [
          {
            scope: { name: "omnishim", version: "1" },
            spans: [
              {
                ...ids,
                parentSpanId: "1111111111111111",
                traceState: "a=b",
                flags: 0x301,
                name: "P running",
                kind: SPAN_KIND.CLIENT,
                startUnixNano: 1735000000000000000n,
                endUnixNano: 2n ** 64n - 1n,
                attributes: [
                  { key: "n", value: -(2n ** 63n) },
                  { key: "d", value: 0.5 },
                  { key: "t", value: false },
                  { key: "b", value: Uint8Array.of(0, 255) },
                  { key: "a", value: ["x", 1n, []] },
                  { key: "k", value: { kvlist: [{ key: "é", value: "" }] } },
                ],
                droppedAttributesCount: 2 ** 32 - 1,
                events: [{ timeUnixNano: 3n, name: "ev" }],
                links: [{ ...ids, flags: 0x100 }],
                status: { code: STATUS_CODE.ERROR, message: "boom" },
              },
            ],
            schemaUrl: "https://opentelemetry.io/schemas/1.27.0",
          },
        ],
      },
    ]);
    const idBytes = { traceId: Buffer.from(ids.traceId, "hex"), spanId: Buffer.from(ids.spanId, "hex") };
    const theirs = encodeWithProtobufjs("traces", {
      resourceSpans: [
        {
          resource: { attributes: [{ key: "service.name", value: { stringValue: "omni-proxy" } }] },
          scopeSpans: [
            {
              scope: { name: "omnishim", version: "1" },
              spans: [
                {
                  ...idBytes,
                  parentSpanId: Buffer.alloc(8, 0x11),
                  traceState: "a=b",
                  flags: 0x301,
                  name: "P running",
                  kind: 3,
                  startTimeUnixNano: "1735000000000000000",
                  endTimeUnixNano: "18446744073709551615",
                  attributes: [
                    { key: "n", value: { intValue: "-9223372036854775808" } },
                    { key: "d", value: { doubleValue: 0.5 } },
                    { key: "t", value: { boolValue: false } },
                    { key: "b", value: { bytesValue: Buffer.from([0, 255]) } },
                    {
                      key: "a",
                      value: {
                        arrayValue: { values: [{ stringValue: "x" }, { intValue: 1 }, { arrayValue: { values: [] } }] },
                      },
                    },
                    { key: "k", value: { kvlistValue: { values: [{ key: "é", value: { stringValue: "" } }] } } },
                  ],
                  droppedAttributesCount: 2 ** 32 - 1,
                  events: [{ timeUnixNano: 3, name: "ev" }],
                  links: [{ ...idBytes, flags: 0x100 }],
                  status: { code: 2, message: "boom" },
                },
              ],
              schemaUrl: "https://opentelemetry.io/schemas/1.27.0",
            },
          ],
        },
      ],
    });
    expect(ours.toString("hex")).toBe(theirs.toString("hex"));
  });

  it.each([
    ["a trace id of 15 bytes", { traceId: "ab".repeat(15) }, "not an id of 16 bytes"],
    ["a span id that is no hex", { spanId: "xyzw".repeat(4) }, "not an id of 8 bytes"],
    ["a time beyond 64 bits", { startUnixNano: 2n ** 64n }, "18446744073709551616 is not an integer from 0"],
    ["an attribute beyond 64 bits", { attributes: [{ key: "k", value: 2n ** 63n }] }, "is not an integer"],
    ["a fractional count", { droppedLinksCount: 0.5 }, "0.5 is not an integer"],
    ["negative flags", { flags: -1 }, "-1 is not an integer"],
  ])("throws a RangeError for %s", (_, span, message) => {
    const encode = () => encodeTraces([{ scopeSpans: [{ spans: [span] }] }]);
    expect(encode).toThrow(RangeError);
    expect(encode).toThrow(message);
  });
});

describe("encodeLogs", () => {
  it("writes what decodeLogs and protobufjs read back, whatever the records", () => {
    fc.assert(
      fc.property(anyRequest("logs"), (request) => {
        const logs = decodeLogs(encodeWithProtobufjs("logs", request));
        const bytes = encodeLogs(logs);
        expect(decodeLogs(bytes)).toEqual(logs);
        expect(logsByProtobufjs(bytes)).toEqual(logs);
      }),
      { numRuns: 150 },
    );
  });
});

type Plain = Record<string, unknown>;

function readAll(signal: "traces" | "logs", bytes: Uint8Array): Plain {
  const type = requestType(signal);
  return type.toObject(type.decode(bytes), { longs: String, defaults: true });
}

function tracesByProtobufjs(bytes: Uint8Array): unknown {
  return list(readAll("traces", bytes)["resourceSpans"]).map((resource) => ({
    resource: resourceOf(resource["resource"]),
    scopeSpans: list(resource["scopeSpans"]).map((scope) => ({
      scope: scopeOf(scope["scope"]),
      spans: list(scope["spans"]).map((span) => ({
        traceId: hex(span["traceId"]),
        spanId: hex(span["spanId"]),
        parentSpanId: hex(span["parentSpanId"]),
        traceState: span["traceState"],
        flags: span["flags"],
        name: span["name"],
        kind: span["kind"],
        startUnixNano: BigInt(span["startTimeUnixNano"] as string),
        endUnixNano: BigInt(span["endTimeUnixNano"] as string),
        attributes: attributesOf(span["attributes"]),
        droppedAttributesCount: span["droppedAttributesCount"],
        events: list(span["events"]).map((event) => ({
          timeUnixNano: BigInt(event["timeUnixNano"] as string),
          name: event["name"],
          attributes: attributesOf(event["attributes"]),
          droppedAttributesCount: event["droppedAttributesCount"],
        })),
        droppedEventsCount: span["droppedEventsCount"],
        links: list(span["links"]).map((link) => ({
          traceId: hex(link["traceId"]),
          spanId: hex(link["spanId"]),
          traceState: link["traceState"],
          attributes: attributesOf(link["attributes"]),
          droppedAttributesCount: link["droppedAttributesCount"],
          flags: link["flags"],
        })),
        droppedLinksCount: span["droppedLinksCount"],
        status: span["status"] ?? { code: 0, message: "" },
      })),
      schemaUrl: scope["schemaUrl"],
    })),
    schemaUrl: resource["schemaUrl"],
  }));
}

function logsByProtobufjs(bytes: Uint8Array): unknown {
  return list(readAll("logs", bytes)["resourceLogs"]).map((resource) => ({
    resource: resourceOf(resource["resource"]),
    scopeLogs: list(resource["scopeLogs"]).map((scope) => ({
      scope: scopeOf(scope["scope"]),
      logRecords: list(scope["logRecords"]).map((record) => ({
        timeUnixNano: BigInt(record["timeUnixNano"] as string),
        observedUnixNano: BigInt(record["observedTimeUnixNano"] as string),
        severityNumber: record["severityNumber"],
        severityText: record["severityText"],
        body: anyValueOf(record["body"]),
        attributes: attributesOf(record["attributes"]),
        droppedAttributesCount: record["droppedAttributesCount"],
        flags: record["flags"],
        traceId: hex(record["traceId"]),
        spanId: hex(record["spanId"]),
        eventName: record["eventName"],
      })),
      schemaUrl: scope["schemaUrl"],
    })),
    schemaUrl: resource["schemaUrl"],
  }));
}

function list(value: unknown): Plain[] {
  return value as Plain[];
}

function hex(value: unknown): string {
  return Buffer.from(value as Uint8Array).toString("hex");
}

function resourceOf(value: unknown): unknown {
  const { attributes = [], droppedAttributesCount = 0 } = (value ?? {}) as Plain;
  return { attributes: attributesOf(attributes), droppedAttributesCount };
}

function scopeOf(value: unknown): unknown {
  const { name = "", version = "", attributes = [], droppedAttributesCount = 0 } = (value ?? {}) as Plain;
  return { name, version, attributes: attributesOf(attributes), droppedAttributesCount };
}

function attributesOf(value: unknown): KeyValue[] {
  return list(value).map(({ key, value }) => ({ key: key as string, value: anyValueOf(value) }));
}

function anyValueOf(value: unknown): AttributeValue {
  const { stringValue, boolValue, intValue, doubleValue, bytesValue, arrayValue, kvlistValue } = (value ?? {}) as Plain;
  if (intValue !== undefined) return BigInt(intValue as string);
  if (bytesValue !== undefined) return Uint8Array.from(bytesValue as Uint8Array);
  if (arrayValue !== undefined) return list((arrayValue as Plain)["values"]).map(anyValueOf);
  if (kvlistValue !== undefined) return { kvlist: attributesOf((kvlistValue as Plain)["values"]) };
  return (stringValue ?? boolValue ?? doubleValue ?? null) as AttributeValue;
}

/** The Collector sends an all-zero id on as an empty one. */
function withoutNoIds<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutNoIds) as T;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      /Id$/.test(key) && /^0+$/.test(String(inner)) ? "" : withoutNoIds(inner),
    ]),
  ) as T;
}
