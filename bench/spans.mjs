/** Export requests like vLLM's: one `llm_request` span a request, with its 14 attributes. */
import { WireWriter } from "../dist/pdata/wire-writer.js";

/** Attributes of a span of vLLM 0.32, as it is configured for; the first names the request. */
function attributesOf(request, n) {
  const seconds = (base) => base + (n % 977) / 1e4;
  return [
    ["gen_ai.request.id", `chatcmpl-${request.id}`],
    ["gen_ai.response.model", "qwen2.5-0.5b-instruct"],
    ["gen_ai.request.temperature", 0.7],
    ["gen_ai.request.top_p", 0.8],
    ["gen_ai.request.max_tokens", BigInt(64 + (n % 512))],
    ["gen_ai.request.n", 1n],
    ["gen_ai.usage.num_sequences", 1n],
    ["gen_ai.usage.prompt_tokens", BigInt(20 + (n % 4000))],
    ["gen_ai.usage.completion_tokens", BigInt(1 + (n % 512))],
    ["gen_ai.latency.e2e", seconds(1.2)],
    ["gen_ai.latency.time_in_queue", seconds(0.004)],
    ["gen_ai.latency.time_to_first_token", seconds(0.05)],
    ["gen_ai.latency.time_in_model_prefill", seconds(0.04)],
    ["gen_ai.latency.time_in_model_decode", seconds(1.1)],
  ];
}

const RESOURCE = [
  ["telemetry.sdk.language", "python"],
  ["telemetry.sdk.name", "opentelemetry"],
  ["telemetry.sdk.version", "1.39.1"],
  ["service.name", "vllm-decode"],
];
const SCOPE = "vllm.llm_engine";
const NAME = "llm_request";
/** The span begins and ends so far within the proxy's D running. */
const MARGIN_US = 1000;

const hexOf = (length, n, salt) =>
  (BigInt(n) * 0x9e3779b97f4a7c15n + salt).toString(16).padStart(length, "f").slice(-length);

function facts(request, n) {
  return {
    traceId: hexOf(16, n, 77n) + hexOf(16, n, 999n),
    spanId: hexOf(16, n, 5n),
    start: BigInt(request.startUs + MARGIN_US) * 1000n,
    end: BigInt(request.endUs - MARGIN_US) * 1000n,
    attributes: attributesOf(request, n),
  };
}

function put(out, field, [key, value]) {
  out.message(field, () => {
    out.string(1, key);
    out.message(2, () => {
      if (typeof value === "string") out.string(1, value);
      else if (typeof value === "bigint") out.int64(3, value);
      else out.double(4, value);
    });
  });
}

function protobuf(requests, first) {
  const out = new WireWriter(64 * 1024);
  out.message(1, () => {
    out.message(1, () => {
      for (const pair of RESOURCE) put(out, 1, pair);
    });
    out.message(2, () => {
      out.message(1, () => out.string(1, SCOPE));
      requests.forEach((request, i) => {
        const span = facts(request, first + i);
        out.message(2, () => {
          out.hex(1, span.traceId).hex(2, span.spanId).string(5, NAME).uint(6, 2);
          out.fixed64(7, span.start).fixed64(8, span.end);
          for (const pair of span.attributes) put(out, 9, pair);
          out.message(15, () => {}).fixed32(16, 0x100);
        });
      });
    });
  });
  return out.finish();
}

function json(requests, first) {
  const pairs = (list) =>
    list.map(([key, value]) => ({
      key,
      value:
        typeof value === "string"
          ? { stringValue: value }
          : typeof value === "bigint"
            ? { intValue: String(value) }
            : { doubleValue: value },
    }));
  const spans = requests.map((request, i) => {
    const { traceId, spanId, start, end, attributes } = facts(request, first + i);
    return {
      traceId,
      spanId,
      name: NAME,
      kind: 2,
      startTimeUnixNano: String(start),
      endTimeUnixNano: String(end),
      attributes: pairs(attributes),
      status: {},
      flags: 0x100,
    };
  });
  return Buffer.from(
    JSON.stringify({
      resourceSpans: [{ resource: { attributes: pairs(RESOURCE) }, scopeSpans: [{ scope: { name: SCOPE }, spans }] }],
    }),
  );
}

/**
 * Encoded export requests of `size` spans, a span each for all of `requests`, as long as full ones can be made.
 * @param {{id: string, startUs: number, endUs: number}[]} requests
 * @param {number} size
 * @param {"protobuf" | "json"} encoding
 */
export function exportRequests(requests, size, encoding) {
  const encode = encoding === "json" ? json : protobuf;
  const out = [];
  for (let at = 0; at + size <= requests.length; at += size) out.push(encode(requests.slice(at, at + size), at));
  return out;
}
