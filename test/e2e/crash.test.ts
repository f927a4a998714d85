import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Victim, type VictimPlaces } from "../faults/victim.ts";
import { type Capture, planReplay, readCapture, seededRandom } from "../kit/captures.ts";
import { OtlpClient, sendHttp } from "../kit/otlp-client.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { readSpans, type SeenSpan } from "../kit/spans.ts";
import { checkCapture, ROOT, sentRequestSpans } from "./merged-traces.ts";

const KILLS = 6;
const STEP_MS = 25;

/** Everything that can be kept on the disk is. */
const config =
  (address: string) =>
  ({ grpc, http, metrics, storage, logs }: VictimPlaces): string =>
    `
extensions:
  file_storage: {directory: ${storage}, timeout: 5s}
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:${grpc}"}, http: {endpoint: "127.0.0.1:${http}"}}}
  omni_proxy_log: {include: ["${logs}/error.log"], start_at: beginning, poll_interval: 20ms, storage: file_storage}
connectors:
  request_merge: {span_wait: 5s, wait: 1s, storage: file_storage}
processors: {batch: }
exporters:
  otlp_grpc:
    endpoint: ${address}
    tls: {insecure: true}
    sending_queue: {storage: file_storage}
service:
  extensions: [file_storage]
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: ${metrics}}}}}]}}
  pipelines:
    logs: {receivers: [omni_proxy_log], exporters: [request_merge]}
    traces/in: {receivers: [otlp], exporters: [request_merge]}
    traces: {receivers: [request_merge], processors: [batch], exporters: [otlp_grpc]}
`;

/** Tries until it is acknowledged, as an SDK would with a little more patience; over one protocol, then the other. */
async function sendUntilTaken({ grpc, http }: VictimPlaces, bytes: Buffer): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const client = new OtlpClient(`127.0.0.1:${grpc}`);
    try {
      if (attempt % 2 === 0) await client.send("traces", bytes, 10_000);
      else await sendHttp(`http://127.0.0.1:${http}`, "traces", Uint8Array.from(bytes));
      return;
    } catch (error) {
      if (attempt > 200) throw error;
      await pause(50);
    } finally {
      client.close();
    }
  }
}

const identity = ({ traceId, spanId, name }: SeenSpan): string => `${traceId}/${spanId}/${name}`;

/** What must be equal in every copy of a span: attributes that clocks and later spans decide are left out. */
function shape(span: SeenSpan): string {
  const kept = Object.entries(span.attributes).filter(
    ([key]) => !/^(omni\.clock\.|omni\.bottleneck|omni\.(ttft|tpot)_seconds$|gen_ai\.usage\.)/.test(key),
  );
  return JSON.stringify(
    [span.parentSpanId, span.kind, span.statusCode, span.statusMessage, kept.sort()],
    (_, value: unknown) => (typeof value === "bigint" ? `${value}n` : value),
  );
}

/** One of each, and what copies of one span disagree about. */
function withoutCopies(spans: readonly SeenSpan[]): { unique: SeenSpan[]; disagreeing: string[] } {
  const first = new Map<string, SeenSpan>();
  const disagreeing: string[] = [];
  for (const span of spans) {
    const known = first.get(identity(span));
    if (!known) first.set(identity(span), span);
    else if (shape(known) !== shape(span)) disagreeing.push(`${identity(span)}: ${shape(known)} and ${shape(span)}`);
  }
  return { unique: [...first.values()], disagreeing };
}

async function complete(sink: OtlpSink, capture: Capture): Promise<void> {
  const inputs = new Set(capture.payloads.flatMap(({ bytes }) => readSpans(bytes)).map(({ spanId }) => spanId));
  const roots = new Set<string>();
  let looked = 0;
  await sink.until(
    "every request and every span is there",
    ({ accepted }) => {
      for (; looked < accepted.length; looked++)
        for (const span of readSpans(accepted[looked]?.bytes ?? Buffer.alloc(0))) {
          inputs.delete(span.spanId);
          if (span.name === ROOT) roots.add(identity(span));
        }
      return inputs.size === 0 && roots.size >= capture.manifest.length;
    },
    30_000,
  );
}

describe("the program with all of its storages", () => {
  it(`makes every trace whole and right although kill -9 ends it ${KILLS} times while a capture is played`, async () => {
    const capture = readCapture("proxy-vllm/grpc");
    const steps = planReplay(capture, { mix: "live", chunks: 60, seed: 5 });
    const random = seededRandom(20261122);
    const kills = new Set<number>();
    while (kills.size < KILLS) kills.add(5 + Math.floor(random() * (steps.length - 10)));
    const sink = await OtlpSink.start();
    const victim = await Victim.create(config(sink.address));
    try {
      const log = join(victim.places.logs, "error.log");
      writeFileSync(log, "");
      await victim.start();
      const sent: Promise<void>[] = [];
      for (const [index, step] of steps.entries()) {
        if (step.kind === "payload") sent.push(sendUntilTaken(victim.places, step.payload.bytes));
        else appendFileSync(log, step.bytes);
        await pause(STEP_MS * random() * 2);
        if (!kills.has(index)) continue;
        await victim.kill();
        await victim.start();
      }
      await Promise.all(sent);
      await complete(sink, capture).catch(() => {}); // what is missing is named by the checks
      expect(await victim.terminate()).toEqual({ code: 0, signal: undefined });
      expect(victim.output).toContain("Going on with the requests that were open");

      const { unique, disagreeing } = withoutCopies(readSpans(sink.bytes("traces")));
      expect(disagreeing).toEqual([]);
      const merged = unique.map((span) => ({ ...span, service: String(span.resource["service.name"]) }));
      expect(checkCapture(capture, merged, { access: false, toleranceNs: 2000 })).toEqual([]);
      expect(sentRequestSpans(capture).length).toBeGreaterThan(100);
    } finally {
      await victim.remove();
      await sink.close();
    }
  }, 90_000);
});
