import { appendFileSync } from "node:fs";
import { afterEach, describe, expect, inject, it } from "vitest";
import type { ProbeReport } from "../../src/offline/probe/probe.ts";
import { decodeTraces } from "../../src/pdata/decode.ts";
import { encodeTraces } from "../../src/pdata/encode.ts";
import { attribute } from "../../src/pdata/model.ts";
import { readCapture } from "../kit/captures.ts";
import { ChatMock, type MockedAnswer } from "../kit/chat-mock.ts";
import { command } from "../kit/edge.ts";
import { Shim, type ShimPlaces } from "../kit/shim.ts";
import { Jaeger, type JaegerVersion } from "./jaeger.ts";

const peers = inject("peers");
const capture = readCapture("proxy-vllm/grpc");
const LINES = capture.errorLog.toString("latin1").split("\n");
const ROWS = capture.accessLog.toString("latin1").split("\n");

/** A captured chat request whose client sent a UUID and a traceparent, as a probe does. */
const sent = capture.manifest.find(({ kind, note }) => kind === "chat" && note === "traceparent + client id");
const ID = sent?.x_request_id_sent as string;
const [, TRACE_ID, SPAN_ID] = String(sent?.traceparent_sent).split("-") as [string, string, string];
const CONNECTION = /: \*(\d+) <<<Action: Time received/.exec(LINES.find((line) => line.includes(ID)) ?? "")?.[1];

function config(jaeger: Jaeger): (places: ShimPlaces) => string {
  return ({ grpcPort, httpPort, metricsPort, errorLog, accessLog }) => `
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:${grpcPort}"}
      http: {endpoint: "127.0.0.1:${httpPort}"}
  omni_proxy_log: {include: ["${errorLog}", "${accessLog}"], poll_interval: 50ms, timezone: UTC}
connectors:
  request_merge:
exporters:
  otlp: {endpoint: "${jaeger.grpc}", tls: {insecure: true}}
service:
  telemetry: {metrics: {address: "127.0.0.1:${metricsPort}"}}
  pipelines:
    logs: {receivers: [omni_proxy_log], exporters: [request_merge]}
    traces/in: {receivers: [otlp], exporters: [request_merge]}
    traces: {receivers: [request_merge], exporters: [otlp]}
`;
}

/** What proxy and vLLM leave behind of a request: the captured one's log lines and spans, under the id that the client sent. */
async function leaveBehind({ headers }: MockedAnswer, shim: Shim): Promise<void> {
  const id = String(headers["x-request-id"]);
  const [, traceId, spanId] = String(headers["traceparent"]).split("-") as [string, string, string];
  // A line of the scheduler counts when its process has written the next one, which names the request's slot.
  const isScheduler = (line: string | undefined): boolean => line?.includes(ID) === true && !line.includes(": *");
  const own = LINES.filter(
    (line, at) => line.includes(`: *${CONNECTION} `) || line.includes(ID) || isScheduler(LINES[at - 1]),
  );
  const renamed = (lines: readonly string[]): Buffer =>
    Buffer.from(
      `${lines.join("\n").replaceAll(ID, id).replaceAll(TRACE_ID, traceId).replaceAll(SPAN_ID, spanId)}\n`,
      "latin1",
    );
  appendFileSync(shim.places.errorLog, renamed(own));
  appendFileSync(shim.places.accessLog, renamed(ROWS.filter((row) => row.includes(ID))));
  for (const { bytes } of capture.payloads) {
    const traces = decodeTraces(bytes);
    for (const { scopeSpans } of traces)
      for (const scope of scopeSpans) {
        scope.spans = scope.spans.filter(({ attributes }) =>
          String(attribute(attributes, "gen_ai.request.id")).includes(ID),
        );
        for (const span of scope.spans) {
          span.traceId = span.traceId.replace(TRACE_ID, traceId);
          span.parentSpanId = span.parentSpanId.replace(SPAN_ID, spanId);
          span.attributes = span.attributes.map(({ key, value }) => ({
            key,
            value: typeof value === "string" ? value.replace(ID, id) : value,
          }));
        }
      }
    const found = traces.some(({ scopeSpans }) => scopeSpans.some(({ spans }) => spans.length > 0));
    if (found) await shim.client.send("traces", encodeTraces(traces));
  }
}

describe.each(["v1", "v2"] as const)("omnishim probe with Jaeger %s behind the shim", (version: JaegerVersion) => {
  const binary = peers[`jaeger-${version}`]?.path;
  if (binary === undefined) {
    it.skip(`is not here: ${peers[`jaeger-${version}`]?.skipped ?? "its build failed"}`, () => {});
    return;
  }
  const open: { stop(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.stop();
  });

  it("probe finds its request as one complete trace", async () => {
    const jaeger = await Jaeger.start(version, binary);
    open.push(jaeger);
    const shim = await Shim.start(config(jaeger));
    open.push(shim);
    const left: Promise<void>[] = [];
    const answered = (answer: MockedAnswer): void => void left.push(leaveBehind(answer, shim));
    const mock = await new ChatMock({ firstAfterMs: 5, tokens: 6, tokenEveryMs: 1, answered }).start();
    open.push(mock);
    const probe = [
      "probe",
      "--url",
      mock.url,
      "--model",
      "m",
      "--num_prompts",
      "1",
      "--traces",
      jaeger.query,
      "--json",
    ];
    const { code, stdout } = await command(probe);
    await Promise.all(left);
    const [request] = (JSON.parse(stdout) as ProbeReport).requests;
    expect(request, stdout).toMatchObject({ tokens: 6, trace: { state: "complete" } });
    expect(request?.trace?.spans).toBeGreaterThan(10);
    expect(request?.trace?.ttft).toBeGreaterThan(0);
    expect(code).toBe(0);
  });
});
