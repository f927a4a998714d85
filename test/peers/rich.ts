import protobuf from "protobufjs";
import type { Signal } from "../../src/kernel/api.ts";
import { protoRoot } from "../kit/proto.ts";

/** An export request as OTLP/JSON has it: ids in hex, bytes in base64, 64-bit integers as text. */
export type OtlpJson = { readonly [key: string]: unknown };

const attributes = [
  { key: "text", value: { stringValue: "größer, 日本, \u{1f680}, \u0000 and \\" } },
  { key: "empty text", value: { stringValue: "" } },
  { key: "yes", value: { boolValue: true } },
  { key: "no", value: { boolValue: false } },
  { key: "above 2^53", value: { intValue: "9007199254740993" } },
  { key: "smallest", value: { intValue: "-9223372036854775808" } },
  { key: "largest", value: { intValue: "9223372036854775807" } },
  { key: "zero", value: { intValue: "0" } },
  { key: "pi", value: { doubleValue: Math.PI } },
  { key: "not a number", value: { doubleValue: "NaN" } },
  { key: "infinite", value: { doubleValue: "-Infinity" } },
  { key: "tiny", value: { doubleValue: 5e-324 } },
  { key: "bytes", value: { bytesValue: "AP8Q" } },
  { key: "no bytes", value: { bytesValue: "" } },
  { key: "list", value: { arrayValue: { values: [{ stringValue: "a" }, { intValue: "1" }, {}, { arrayValue: {} }] } } },
  {
    key: "map",
    value: {
      kvlistValue: {
        values: [
          { key: "inner", value: { kvlistValue: { values: [{ key: "deep", value: { boolValue: true } }] } } },
          { key: "", value: { stringValue: "empty key" } },
        ],
      },
    },
  },
  { key: "no value", value: {} },
  { key: "twice", value: { intValue: "1" } },
  { key: "twice", value: { intValue: "2" } },
];
const resource = { attributes, droppedAttributesCount: 3 };
const scope = { name: "rich", version: "1.2.3", attributes: attributes.slice(0, 3), droppedAttributesCount: 4 };
const traceId = "5b8efff798038103d269b633813fc60c";
const spanId = "eee19b7ec3c1b174";
const exemplars = [
  { filteredAttributes: attributes.slice(0, 2), timeUnixNano: "1795322000000000007", asInt: "-5", traceId, spanId },
];
const times = { startTimeUnixNano: "1795322000000000001", timeUnixNano: "1795322000000000009" };

/** One request a signal with everything that OTLP can say. */
export const rich: Readonly<Record<Signal, OtlpJson>> = {
  traces: {
    resourceSpans: [
      {
        resource,
        schemaUrl: "https://opentelemetry.io/schemas/1.26.0",
        scopeSpans: [
          {
            scope,
            schemaUrl: "https://opentelemetry.io/schemas/1.4.0",
            spans: [
              {
                traceId,
                spanId,
                parentSpanId: "eee19b7ec3c1b173",
                traceState: "vendor=1,other=x@y",
                flags: 0x301,
                name: "rich",
                kind: 3,
                startTimeUnixNano: "1795322000000000001",
                endTimeUnixNano: "18446744073709551615",
                attributes,
                droppedAttributesCount: 1,
                events: [
                  { timeUnixNano: "1795322000000000005", name: "event", attributes, droppedAttributesCount: 7 },
                  { name: "without time" },
                ],
                droppedEventsCount: 4294967295,
                links: [
                  {
                    traceId: "00000000000000000000000000000001",
                    spanId: "0000000000000002",
                    traceState: "l=1",
                    attributes,
                    droppedAttributesCount: 8,
                    flags: 0x101,
                  },
                ],
                droppedLinksCount: 2,
                status: { code: 2, message: "it broke" },
              },
              { traceId, spanId: "eee19b7ec3c1b175", name: "", kind: 0, status: { code: 1 } },
              { name: "empty ids" },
              { traceId: "00000000000000000000000000000000", spanId: "0000000000000000", name: "zero ids", kind: 1 },
            ],
          },
          { spans: [{ traceId, spanId: "eee19b7ec3c1b176", name: "no scope" }] },
          { scope: { name: "no spans" } },
        ],
      },
      { scopeSpans: [{ spans: [{ traceId, spanId: "eee19b7ec3c1b177", name: "no resource" }] }] },
    ],
  },
  metrics: {
    resourceMetrics: [
      {
        resource,
        schemaUrl: "https://opentelemetry.io/schemas/1.26.0",
        scopeMetrics: [
          {
            scope,
            metrics: [
              {
                name: "gauge",
                description: "all kinds",
                unit: "By",
                metadata: attributes.slice(0, 1),
                gauge: {
                  dataPoints: [
                    { ...times, attributes, asInt: "-9223372036854775808", exemplars, flags: 1 },
                    { ...times, asDouble: "NaN" },
                  ],
                },
              },
              {
                name: "sum",
                sum: { dataPoints: [{ ...times, asDouble: 0.5 }], aggregationTemporality: 2, isMonotonic: true },
              },
              {
                name: "histogram",
                histogram: {
                  dataPoints: [
                    {
                      ...times,
                      count: "18446744073709551615",
                      sum: 1.5,
                      bucketCounts: ["1", "0", "9007199254740993"],
                      explicitBounds: [0.1, 10],
                      exemplars,
                      min: 0,
                      max: 2,
                    },
                    { ...times, count: "0" },
                  ],
                  aggregationTemporality: 1,
                },
              },
              {
                name: "exponential",
                exponentialHistogram: {
                  dataPoints: [
                    {
                      ...times,
                      attributes: attributes.slice(0, 2),
                      count: "7",
                      sum: -1,
                      scale: -3,
                      zeroCount: "2",
                      positive: { offset: -2, bucketCounts: ["1", "2"] },
                      negative: { offset: 5, bucketCounts: ["3"] },
                      zeroThreshold: 0.25,
                    },
                  ],
                  aggregationTemporality: 2,
                },
              },
              {
                name: "summary",
                summary: {
                  dataPoints: [{ ...times, count: "3", sum: 6, quantileValues: [{ quantile: 0.99, value: 3 }] }],
                },
              },
            ],
          },
        ],
      },
    ],
  },
  logs: {
    resourceLogs: [
      {
        resource,
        schemaUrl: "https://opentelemetry.io/schemas/1.26.0",
        scopeLogs: [
          {
            scope,
            logRecords: [
              {
                timeUnixNano: "1795322000000000001",
                observedTimeUnixNano: "1795322000000000002",
                severityNumber: 17,
                severityText: "ERROR",
                body: { kvlistValue: { values: attributes } },
                attributes,
                droppedAttributesCount: 1,
                flags: 1,
                traceId,
                spanId,
                eventName: "device.failed",
              },
              { body: { stringValue: "bare" } },
            ],
          },
        ],
      },
    ],
  },
};

const root = protoRoot();
const types: Readonly<Record<Signal, protobuf.Type>> = {
  traces: root.lookupType("opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest"),
  metrics: root.lookupType("opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest"),
  logs: root.lookupType("opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest"),
};

const ids = new Set(["traceId", "spanId", "parentSpanId"]);

/** The protobuf form of an OTLP/JSON request, by protobufjs. */
export function encode(signal: Signal, request: OtlpJson): Buffer {
  const inBytes = JSON.parse(JSON.stringify(request), (key, value) =>
    ids.has(key) ? Buffer.from(value as string, "hex").toString("base64") : value,
  ) as OtlpJson;
  const type = types[signal];
  return Buffer.from(type.encode(type.fromObject(inBytes)).finish());
}

/**
 * Every known field of an encoded request as plain data: 64-bit integers as text, bytes as base64. Forms that proto3 and OTLP
 * define to be the same are made the same: a default value that is written out or left out, an empty message where none is
 * needed (resource, scope, status), an id of zeros and no id. In a oneof (attribute values, data points) and in optional
 * fields a default value is a value and stays.
 */
export function decode(signal: Signal, bytes: Uint8Array): unknown {
  const type = types[signal];
  return plain(type, type.toObject(type.decode(bytes), { longs: String, bytes: String }));
}

function plain(type: protobuf.Type, message: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    const value = message[field.name];
    if (value === undefined) continue;
    const each = (one: unknown): unknown =>
      field.resolvedType instanceof protobuf.Type ? plain(field.resolvedType, one as Record<string, unknown>) : one;
    const made = Array.isArray(value) ? value.map(each) : each(value);
    if (field.partOf || !isDefault(field.name, made)) out[field.name] = made;
  }
  return out;
}

function isDefault(name: string, value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value === "object" && value !== null) return Object.keys(value).length === 0;
  if (ids.has(name)) return Buffer.from(String(value), "base64").every((byte) => byte === 0);
  return value === 0 || value === "0" || value === "" || value === false;
}
