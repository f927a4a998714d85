/** Made-up requests for tests that need a certain one; captures (captures.ts) are better wherever they do. */
import type { ResourceSpans, SpanData } from "../../src/pdata/model.ts";

/** Unix seconds at boot of the made-up proxy. */
export const WALL = 1_795_322_092;

/**
 * What the proxy logs of one request whose first stamp is `at` seconds after boot (unix time = WALL + at). The last stamp
 * is 0.2 s later, or `stretch` times that; `slot` is its place in the proxy's table, of which no two open requests share one.
 */
export function requestLines(options: {
  id: string;
  connection: number;
  at: number;
  traceparent?: string;
  injected?: boolean;
  proxyId?: boolean;
  end?: boolean;
  stretch?: number;
  slot?: number;
  /** How far the wall clock was set, seconds. */
  set?: number;
}): Buffer[] {
  const { id, connection, at, traceparent, injected = false, proxyId = true, end = true, stretch = 1 } = options;
  const { slot = connection % 64, set = 0 } = options;
  const wall = WALL + set;
  const suffix = ', client: 127.0.0.1, server: localhost, request: "POST /v1/completions HTTP/1.1", host: "localhost"';
  const prefix = `${new Date((wall + at) * 1000).toISOString().slice(0, 19).replace("T", " ").replaceAll("-", "/")} [info] 10#0: `;
  const own = (text: string): string => `${prefix}*${connection} ${text}`;
  const action = (name: string, after: number): string =>
    own(`<<<Action: ${name}; Timestamp:${(at + after * stretch).toFixed(6)}; RequestID:${id}${suffix}`);
  const scheduled = (name: string, after: number, phase: string): string[] => [
    `${prefix}<<<Action: ${name}; Timestamp:${(at + after * stretch).toFixed(6)}; RequestID:${id}`,
    `${prefix}[${phase}-${slot}] Schedule to: 0 (group=0)`,
  ];
  const lines = [
    ...(proxyId
      ? [own(`<<<Action: Start to schedule; Timestamp:${(wall + at).toFixed(6)}; RequestID:${id}${suffix}`)]
      : []),
    ...(traceparent === undefined
      ? []
      : [
          own(
            injected
              ? `****Action: Inject Traceparent****; Timestamp:${(wall + at).toFixed(6)}; trace_headers:${traceparent}${suffix}`
              : `****Traceparent already exists****; trace_headers:${traceparent}${suffix}`,
          ),
        ]),
    own(`Allocate Req:${slot}${suffix}`),
    own(`[Prefill-${slot}]: enter main request handler, policy:0${suffix}`),
    action("Time received", 0.00001),
    action("Enter state tokenization", 0.00002),
    action("Enter state P waiting", 0.0001),
    ...scheduled("Enter state P scheduled", 0.001, "Prefill"),
    action("Enter state P running", 0.002),
    action("Finish P running", 0.05),
    action("Enter state D waiting", 0.051),
    ...scheduled("Enter state D scheduled", 0.052, "Decode"),
    action("Enter state D running", 0.053),
    action("Proxy got first token", 0.1),
    action("Proxy got second token", 0.11),
    action("Proxy got third token", 0.12),
    ...(end ? [action("Received all tokens", 0.2)] : []),
  ];
  return lines.map((line) => Buffer.from(line, "latin1"));
}

let serial = 1;

/** A vLLM span; `at` as in requestLines. */
export function vllmSpan(options: {
  id: string;
  role: "prefill" | "decode";
  at: number;
  traceId?: string;
  parentSpanId?: string;
  attributes?: SpanData["attributes"];
  name?: string;
}): ResourceSpans {
  const { id, role, at, traceId = (serial++).toString(16).padStart(32, "a"), parentSpanId = "" } = options;
  const [from, to] = role === "prefill" ? [0.004, 0.048] : [0.055, 0.19];
  const nano = (after: number): bigint => BigInt(Math.round((WALL + at + after) * 1e6)) * 1000n;
  const span: SpanData = {
    traceId,
    spanId: (serial++).toString(16).padStart(16, "b"),
    parentSpanId,
    traceState: "",
    flags: 0x100,
    name: options.name ?? "llm_request",
    kind: 2,
    startUnixNano: nano(from as number),
    endUnixNano: nano(to as number),
    attributes: options.attributes ?? [
      { key: "gen_ai.request.id", value: id },
      { key: "gen_ai.request.max_tokens", value: role === "prefill" ? 1n : 6n },
      { key: "gen_ai.usage.completion_tokens", value: role === "prefill" ? 1n : 6n },
      { key: "gen_ai.usage.prompt_tokens", value: 17n },
    ],
    droppedAttributesCount: 0,
    events: [],
    droppedEventsCount: 0,
    links: [],
    droppedLinksCount: 0,
    status: { code: 0, message: "" },
  };
  return {
    resource: { attributes: [{ key: "service.name", value: `vllm-${role}` }], droppedAttributesCount: 0 },
    scopeSpans: [
      {
        scope: { name: "vllm.tracing.otel", version: "", attributes: [], droppedAttributesCount: 0 },
        spans: [span],
        schemaUrl: "",
      },
    ],
    schemaUrl: "",
  };
}
