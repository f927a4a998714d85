import { describe, expect, it } from "vitest";
import { type Capture, planReplay, type ReplayPlan, readCapture } from "../kit/captures.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { Shim } from "../kit/shim.ts";
import { readSpans, type SeenSpan } from "../kit/spans.ts";
import { checkCapture, type MergedSpan, ROOT, sentRequestSpans, tieRequests } from "./merged-traces.ts";

interface Counts {
  readonly spans: number;
  readonly joined: number;
  readonly prefill: number;
  readonly decode: number;
}
const none: Counts = { spans: 0, joined: 0, prefill: 0, decode: 0 };

/**
 * What is in each capture: vLLM's spans, those of them that belong to a logged request, and the requests that have a prefill
 * and a decode span. Without these numbers a test that finds nothing to join would pass.
 */
const runs: readonly (readonly [name: string, counts: Counts])[] = [
  ["proxy-vllm/grpc", { spans: 166, joined: 144, prefill: 54, decode: 52 }],
  ["proxy-vllm/grpc-trace-force-detailed", { spans: 166, joined: 144, prefill: 54, decode: 52 }],
  ["proxy-vllm/vllm085-grpc-n2-crash", { spans: 15, joined: 14, prefill: 7, decode: 7 }],
  ["proxy-mock/aggregation", none],
  ["proxy-mock/seq-basic", none],
  ["proxy-mock/seq-failures", none],
  ["proxy-mock/seq-loglevel-notice", none],
  ["proxy-mock/seq-odd", none],
  ["proxy-mock/seq-tokenizer", none],
  ["proxy-mock/seq-tokenizer-broken", none],
  ["proxy-mock/seq-trace-force", none],
  ["proxy-mock/smoke", none],
];

const config =
  (sink: OtlpSink, access: boolean, over: string): Parameters<typeof Shim.start>[0] =>
  (places) =>
    `
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:${places.grpcPort}
      http:
        endpoint: 127.0.0.1:${places.httpPort}
  omni_proxy_log:
    include: [${[places.errorLog, ...(access ? [places.accessLog] : [])].join(", ")}]
    start_at: beginning
    poll_interval: 20ms
connectors:
  request_merge:
    # Longer than a busy machine may take from appending a line to reading it; every payload here has its lines.
    span_wait: 10s
    wait: 2s
${over}
processors:
  batch:
exporters:
  otlp:
    endpoint: ${sink.address}
    tls:
      insecure: true
service:
  telemetry:
    metrics:
      readers:
        - pull:
            exporter:
              prometheus:
                host: 127.0.0.1
                port: ${places.metricsPort}
  pipelines:
    logs:
      receivers: [omni_proxy_log]
      exporters: [request_merge]
    traces/in:
      receivers: [otlp]
      exporters: [request_merge]
    traces:
      receivers: [request_merge]
      processors: [batch]
      exporters: [otlp]
`;

/** Plays a capture through the program until all of its requests are at the sink, then stops it. */
async function play(
  capture: Capture,
  options: { plan?: ReplayPlan; protocol?: "grpc" | "http" } = {},
): Promise<{ spans: SeenSpan[]; unmerged: Record<string, number> }> {
  const { plan = {}, protocol = "grpc" } = options;
  const sink = await OtlpSink.start();
  // Requests that never end leave by this time-out only.
  const over = capture.name.endsWith("tokenizer-broken") ? "    request_timeout: 2s" : "";
  const shim = await Shim.start(config(sink, plan.access ?? false, over));
  try {
    await shim.replay(planReplay(capture, plan), { protocol, paced: (plan.mix ?? "live") === "live" });
    await everythingAt(sink, capture).catch(() => {}); // what is missing is named by the checks
    const samples = await shim.metric("omnishim_unmerged_spans");
    const unmerged = Object.fromEntries(
      Object.entries(samples)
        .filter(([, value]) => value > 0)
        .map(([labels, value]) => [/cause="([^"]*)"/.exec(labels)?.[1] ?? labels, value]),
    );
    expect(await shim.stop(), shim.program.output).toEqual({ code: 0, signal: undefined });
    return { spans: readSpans(sink.bytes("traces")), unmerged };
  } finally {
    await shim.stop();
    await sink.close();
  }
}

/** Resolves when as many roots as there are requests, and as many other spans as came in, have arrived. */
async function everythingAt(sink: OtlpSink, capture: Capture): Promise<void> {
  const inputs = capture.payloads.flatMap(({ bytes }) => readSpans(bytes)).length;
  const counted = { requests: 0, roots: 0, inputs: 0 };
  await sink.until("every request and every span is there", ({ accepted }) => {
    for (; counted.requests < accepted.length; counted.requests++)
      for (const { name, scopeName } of readSpans(accepted[counted.requests]?.bytes ?? Buffer.alloc(0))) {
        if (name === ROOT) counted.roots++;
        if (scopeName !== "omnishim") counted.inputs++;
      }
    return counted.roots >= capture.manifest.length && counted.inputs >= inputs;
  });
}

const merged = (span: SeenSpan): MergedSpan => ({ ...span, service: String(span.resource["service.name"]) });

/** What is wrong with spans that came in: lost, twice, changed where they must not be. */
function checkInputs(capture: Capture, out: readonly SeenSpan[]): string[] {
  const problems: string[] = [];
  const whole = ({ raw, around }: SeenSpan): string =>
    [around.resource, around.scope, raw].map((part) => part.toString("hex")).join(" ") + around.schemaUrls.join(" ");
  const identity = ({ spanId, name, startUnixNano, endUnixNano }: SeenSpan): string =>
    `${name} ${spanId} ${startUnixNano} ${endUnixNano}`;
  const inputs = capture.payloads.flatMap(({ bytes }) => readSpans(bytes));
  const named = new Set(sentRequestSpans(capture).map(identity));
  for (const span of inputs) {
    const found = out.filter((one) => identity(one) === identity(span));
    const [here] = found;
    if (!here || found.length > 1) problems.push(`${identity(span)} is there ${found.length} times`);
    else if (!named.has(identity(span))) {
      if (whole(here) !== whole(span)) problems.push(`${identity(span)} cannot be merged, but was changed`);
    } else {
      const changed = (["kind", "traceState", "statusCode", "statusMessage", "events", "scopeName"] as const).filter(
        (field) => JSON.stringify(here[field]) !== JSON.stringify(span[field]),
      );
      if (changed.length > 0) problems.push(`${identity(span)}: changed ${changed.join(", ")}`);
      expect(here.attributes).toMatchObject(span.attributes);
      const added = Object.keys(here.attributes).filter((key) => !(key in span.attributes) && !key.startsWith("omni."));
      if (added.length > 0) problems.push(`${identity(span)}: gained ${added.join(", ")}`);
      if (!here.around.resource.equals(span.around.resource) || !here.around.scope.equals(span.around.scope))
        problems.push(`${identity(span)}: resource or scope changed`);
    }
  }
  return problems;
}

/** At log level notice: the states that an access-log row tells, with the row's own durations. */
function checkAccessStates(capture: Capture, seen: readonly SeenSpan[]): void {
  const rows = capture.accessLog
    .toString("utf8")
    .split("\n")
    .filter((line) => /rcved:"\d/.test(line));
  expect(rows).toHaveLength(capture.manifest.length);
  for (const row of rows) {
    const field = (name: string): number => Number(new RegExp(`[{,]${name}:"([^"]*)"`).exec(row)?.[1]);
    const id = /request_id:"([^"]*)"/.exec(row)?.[1];
    const root = seen.find(({ name, attributes }) => name === ROOT && attributes["request_id"] === id);
    expect(root, `root of ${id}`).toBeDefined();
    const state = (name: string): SeenSpan | undefined =>
      seen.find((span) => span.name === name && span.traceId === root?.traceId);
    const lasts = (span: SeenSpan | undefined): number =>
      span === undefined ? Number.NaN : Number(span.endUnixNano - span.startUnixNano) / 1e9;
    expect(lasts(state("P running")), `P running of ${id}`).toBeCloseTo(field("p_ed") - field("to_p"), 5);
    expect(lasts(state("TTFT")), `TTFT of ${id}`).toBeCloseTo(field("ttft"), 5);
    const decode = state("D running");
    const gap = Number((decode?.startUnixNano ?? 0n) - (state("P running")?.startUnixNano ?? 0n)) / 1e9;
    expect(gap, `P running to D running of ${id}`).toBeCloseTo(field("to_d") - field("to_p"), 5);
    expect(decode?.endUnixNano).toBe(root?.endUnixNano);
  }
}

/** What is wrong with the spans that the program made, as spans. */
function checkDerived(capture: Capture, out: readonly SeenSpan[]): string[] {
  const problems: string[] = [];
  const inputs = new Set(capture.payloads.flatMap(({ bytes }) => readSpans(bytes)).map(({ spanId }) => spanId));
  const derived = out.filter(({ spanId }) => !inputs.has(spanId));
  const ids = derived.map(({ traceId, spanId }) => `${traceId}/${spanId}`);
  if (new Set(ids).size !== ids.length) problems.push("a span id was given twice in a trace");
  for (const span of derived) {
    const what = `${span.name} ${span.traceId}/${span.spanId}`;
    if (!/^(?!0+$)[0-9a-f]{32}$/.test(span.traceId) || !/^(?!0+$)[0-9a-f]{16}$/.test(span.spanId))
      problems.push(`${what}: not an id`);
    if (span.scopeName !== "omnishim") problems.push(`${what}: scope ${span.scopeName}`);
    const kind = span.name === ROOT ? 2 : ["P running", "D running"].includes(span.name) ? 3 : 1;
    if (span.kind !== kind) problems.push(`${what}: kind ${span.kind}, not ${kind}`);
    const flags = span.name === ROOT && span.parentSpanId !== "" ? 0x300 : 0x100;
    if (span.flags !== flags) problems.push(`${what}: flags 0x${span.flags.toString(16)}, not 0x${flags.toString(16)}`);
    if (span.name !== ROOT && !ids.includes(`${span.traceId}/${span.parentSpanId}`))
      problems.push(`${what}: its parent ${span.parentSpanId} is not there`);
  }
  return problems;
}

/** Every check there is; `seen` are the spans at the sink. */
function checkAll(capture: Capture, seen: readonly SeenSpan[], access: boolean, counts: Counts): void {
  const spans = seen.map(merged);
  expect(checkCapture(capture, spans, { access, toleranceNs: 2000 })).toEqual([]);
  expect(checkInputs(capture, seen)).toEqual([]);
  expect(checkDerived(capture, seen)).toEqual([]);
  const requests = tieRequests(capture, spans, []);
  const having = (service: string): number =>
    requests.filter(({ sent }) => sent.some(({ resource }) => resource["service.name"] === service)).length;
  expect({
    spans: capture.payloads.flatMap(({ bytes }) => readSpans(bytes)).length,
    joined: requests.flatMap(({ sent }) => sent).length,
    prefill: having("vllm-prefill"),
    decode: having("vllm-decode"),
  }).toEqual(counts);
}

// Most of each test is waiting, so several run at once.
describe.concurrent("the program, when a capture is played to it", { timeout: 60_000 }, () => {
  it.each(runs)("live, gives one right trace a request: %s", async (name, counts) => {
    const capture = readCapture(name);
    // At log level notice the access log is all there is.
    const notice = name.endsWith("loglevel-notice");
    const { spans, unmerged } = await play(capture, { plan: { access: notice } });
    checkAll(capture, spans, notice, counts);
    if (notice) checkAccessStates(capture, spans);
    expect(unmerged).toEqual(name.includes("vllm085") ? { no_request_id: 1 } : {});
  });

  it.each(runs.filter(([name, { spans }]) => spans > 0 || name.endsWith("failures")))(
    "with its access log, in any order and over HTTP, gives one right trace a request: %s",
    async (name, counts) => {
      const capture = readCapture(name);
      const plan = { mix: "random", order: "shuffle", seed: 3, chunks: 200, access: true } as const;
      const { spans } = await play(capture, { plan, protocol: "http" });
      checkAll(capture, spans, true, counts);
    },
  );
});
