import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, inject, it } from "vitest";
import { checkCapture, type MergedSpan, ROOT, sentRequestSpans } from "../e2e/merged-traces.ts";
import { type Capture, planReplay, readCapture } from "../kit/captures.ts";
import { Program } from "../kit/process.ts";
import { Shim } from "../kit/shim.ts";
import type { SeenValue } from "../kit/spans.ts";
import { Jaeger, type JaegerSpan, type JaegerTrace, type JaegerVersion } from "./jaeger.ts";

const peers = inject("peers");
const python = peers["python"]?.path;
const telemetrygen = peers["telemetrygen"]?.path;

const config =
  (jaeger: Jaeger): Parameters<typeof Shim.start>[0] =>
  ({ grpcPort, httpPort, errorLog }) =>
    `
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:${grpcPort}
      http:
        endpoint: 127.0.0.1:${httpPort}
  omni_proxy_log:
    include: [${errorLog}]
    start_at: beginning
connectors:
  request_merge:
    span_wait: 10s
    wait: 3s
processors:
  batch:
exporters:
  otlp:
    endpoint: ${jaeger.grpc}
    tls:
      insecure: true
service:
  telemetry:
    metrics:
      level: none
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

const kinds = ["internal", "server", "client", "producer", "consumer"];

function fromJaeger({ spans, processes }: JaegerTrace): MergedSpan[] {
  const tags = (list: JaegerSpan["tags"]): Record<string, SeenValue> =>
    Object.fromEntries(list.map(({ key, value }) => [key, value as SeenValue]));
  return spans.map((span) => ({
    traceId: span.traceID.padStart(32, "0"),
    spanId: span.spanID,
    parentSpanId: span.references.find(({ refType }) => refType === "CHILD_OF")?.spanID ?? "",
    name: span.operationName,
    kind: kinds.indexOf(String(tags(span.tags)["span.kind"] ?? "internal")) + 1,
    startUnixNano: BigInt(span.startTime) * 1000n,
    endUnixNano: BigInt(span.startTime + span.duration) * 1000n,
    attributes: tags(span.tags),
    service: processes[span.processID]?.serviceName ?? "",
  }));
}

/** What Jaeger has to say of a span, but for two things that are as they must be. */
function unexpectedWarnings({ operationName, references, duration, warnings }: JaegerSpan): string[] {
  return (warnings ?? []).filter((warning) => {
    // A client's own span is not here: its id, the root's parent, is missing.
    if (operationName === ROOT && warning.includes(references[0]?.spanID ?? "no parent")) return false;
    // Two actions in one microsecond: v2 calls a state without length negative.
    return !(duration === 0 && warning.startsWith("Negative duration detected"));
  });
}

/** When a capture happened, with a margin: what to ask Jaeger for. */
function spanOf({ manifest }: Capture): [from: number, to: number] {
  const starts = manifest.map(({ t_start }) => t_start);
  return [Math.min(...starts) - 60, Math.max(...starts) + 600];
}

const open: { stop(): Promise<unknown> }[] = [];
const folders: string[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.stop();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** The capture's vLLM spans, through the SDK and exporter that vLLM uses. */
async function sendByPython(capture: Capture, protocol: "grpc" | "http", shim: Shim): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "omnishim-python-"));
  folders.push(folder);
  const spans = sentRequestSpans(capture).map((span) => ({
    name: span.name,
    scope: span.scopeName,
    trace_id: span.traceId,
    span_id: span.spanId,
    parent_span_id: span.parentSpanId,
    start: span.startUnixNano,
    end: span.endUnixNano,
    attributes: span.attributes,
    resource: span.resource,
  }));
  const file = join(folder, "spans.json");
  // As times, 64-bit integers are text; as attributes they are numbers (token counts, all small).
  writeFileSync(
    file,
    JSON.stringify(spans, (key, value: unknown) =>
      typeof value === "bigint" ? (key === "start" || key === "end" ? String(value) : Number(value)) : value,
    ),
  );
  const endpoint = protocol === "grpc" ? `http://127.0.0.1:${shim.places.grpcPort}` : `${shim.http}/v1/traces`;
  const script = new URL("senders.py", import.meta.url).pathname;
  const sender = new Program(python ?? "", [script, "spans", protocol, endpoint], { env: { SPANS_FILE: file } });
  expect(await sender.exit(40_000), sender.output).toEqual({ code: 0, signal: undefined });
  expect(sender.output.trim()).toBe(String(spans.length));
}

type Sender = (capture: Capture, shim: Shim) => Promise<void>;
const senders: readonly (readonly [name: string, missing: boolean, send: Sender])[] = [
  ["vLLM's own bytes by grpc-js, live", false, (capture, shim) => shim.replay(planReplay(capture), { paced: true })],
  ...(["grpc", "http"] as const).map((protocol): [string, boolean, Sender] => [
    `the Python SDK over ${protocol}`,
    python === undefined,
    async (capture, shim) => {
      const log = planReplay(capture).filter(({ kind }) => kind === "log");
      await Promise.all([shim.replay(log), sendByPython(capture, protocol, shim)]);
    },
  ]),
];

describe.each(["v1", "v2"] as const)("Jaeger %s behind the shim", (version: JaegerVersion) => {
  const binary = peers[`jaeger-${version}`]?.path;
  if (binary === undefined) {
    it.skip(`is not here: ${peers[`jaeger-${version}`]?.skipped ?? "its build failed"}`, () => {});
    return;
  }

  async function start(): Promise<{ jaeger: Jaeger; shim: Shim }> {
    const jaeger = await Jaeger.start(version, binary ?? "");
    open.push(jaeger);
    const shim = await Shim.start(config(jaeger));
    open.push(shim);
    return { jaeger, shim };
  }

  for (const [name, missing, send] of senders)
    for (const run of ["proxy-vllm/grpc", "proxy-vllm/grpc-trace-force-detailed"])
      it.skipIf(missing)(`shows one right trace a request of ${run}, sent by ${name}`, async () => {
        const capture = readCapture(run);
        const { jaeger, shim } = await start();
        await send(capture, shim);
        const sent = sentRequestSpans(capture).length;
        const traces = await jaeger.until(
          () => jaeger.traces("omni-proxy", ...spanOf(capture)),
          (found) => {
            const names = found.flatMap(({ spans }) => spans.map(({ operationName }) => operationName));
            return (
              names.filter((one) => one === ROOT).length >= capture.manifest.length &&
              names.filter((one) => one === "llm_request").length >= sent
            );
          },
        );
        const warnings = traces.flatMap(({ spans }) => spans.flatMap(unexpectedWarnings));
        expect(warnings).toEqual([]);
        expect(checkCapture(capture, traces.flatMap(fromJaeger), { access: false, toleranceNs: 3000 })).toEqual([]);

        // The newer API tells the same of a trace.
        const [trace] = traces;
        const otlp = await jaeger.otlpTrace(trace?.traceID ?? "");
        const ids = otlp.resourceSpans.flatMap(({ scopeSpans }) =>
          scopeSpans.flatMap(({ spans }) => spans.map(({ spanId, name }) => `${String(spanId)} ${String(name)}`)),
        );
        expect(ids.sort()).toEqual(
          trace?.spans.map(({ spanID, operationName }) => `${spanID} ${operationName}`).sort(),
        );
        expect(await shim.stop(), shim.program.output).toEqual({ code: 0, signal: undefined });
      });

  it.skipIf(telemetrygen === undefined).each(["grpc", "http"] as const)(
    "shows every trace of telemetrygen over %s, as it was sent",
    async (protocol) => {
      const { jaeger, shim } = await start();
      const { grpcPort, httpPort } = shim.places;
      const began = Date.now() / 1000;
      const generator = new Program(telemetrygen ?? "", [
        "traces",
        "--otlp-insecure",
        `--otlp-endpoint=127.0.0.1:${protocol === "grpc" ? grpcPort : httpPort}`,
        ...(protocol === "http" ? ["--otlp-http"] : []),
        "--traces=50",
        "--rate=0",
        "--service=generated",
        '--telemetry-attributes=answer="42"',
      ]);
      expect(await generator.exit(30_000), generator.output).toEqual({ code: 0, signal: undefined });
      const traces = await jaeger.until(
        () => jaeger.traces("generated", began - 60, began + 600),
        (found) => found.flatMap(({ spans }) => spans).length >= 100,
      );
      expect(traces).toHaveLength(50);
      for (const trace of traces) {
        const [parent, child] = fromJaeger(trace).sort((a, b) => a.parentSpanId.length - b.parentSpanId.length);
        expect([parent?.name, child?.name]).toEqual(["lets-go", "okey-dokey-0"]);
        expect(child?.parentSpanId).toBe(parent?.spanId);
        expect(parent?.attributes).toMatchObject({ answer: "42" });
      }
      expect(await shim.stop(), shim.program.output).toEqual({ code: 0, signal: undefined });
    },
  );
});
