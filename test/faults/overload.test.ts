import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { expectNothingLost, pass, runScenario } from "./scenario.ts";
import type { VictimPlaces } from "./victim.ts";

/** How long the load lasts; OVERLOAD_SECONDS sets another time (300: five minutes). */
const SECONDS = Number(process.env["OVERLOAD_SECONDS"] ?? 30);
/** What the backend takes, and how much more is sent at least. */
const BACKEND_SPANS_A_SECOND = 200;
const TIMES = 10;
/** Above what the program takes without data, and so that it is reached within the time. */
const LIMIT_MIB = SECONDS < 60 ? 150 : 256;
/** Of the load's spans, about. */
const SPAN_BYTES = 220;
const MIB = 1024 * 1024;

/** The queue is in memory and as long as it likes: only memory_limiter stands in the way. */
function limited(endpoint: string) {
  return (places: VictimPlaces): string => `
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:${places.grpc}"}
      http: {endpoint: "127.0.0.1:${places.http}"}
processors:
  memory_limiter: {check_interval: 1s, limit_mib: ${LIMIT_MIB}}
  batch:
exporters:
  otlp_grpc:
    endpoint: ${endpoint}
    tls: {insecure: true}
    timeout: 1m
    sending_queue: {num_consumers: 10, queue_size: 1000000000, sizer: items}
    retry_on_failure: {max_elapsed_time: 0}
service:
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: ${places.metrics}}}}}]}}
  pipelines:
    traces: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp_grpc]}
`;
}

/** The most that a process ever had resident, bytes, as the kernel counts it; undefined where there is no /proc. */
function peakOf(pid: number): number | undefined {
  const file = `/proc/${pid}/status`;
  const [, kib] = (existsSync(file) ? /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(file, "utf8")) : null) ?? [];
  return kib === undefined ? undefined : Number(kib) * 1024;
}

it(
  `memory_limiter holds the process below limit_mib + 100 MiB in an overload of ${TIMES} times, and nothing is lost`,
  async () => {
    let peak = 0;
    let refusedAfter = Number.POSITIVE_INFINITY;
    let answered = 0;
    /** Spans a second, while the load lasted. */
    let offered = 0;
    let taken = 0;
    const outcome = await runScenario({
      fault: `overload, ${SECONDS} s, ${TIMES} times what the backend takes; memory_limiter with limit_mib ${LIMIT_MIB}`,
      config: limited,
      load: { workers: 32, pauseMs: 4 },
      async disturb({ victim, sink, load }) {
        // A backend of that speed: what comes waits for what came before.
        let freeAt = performance.now();
        sink.faults = ({ bytes }) => {
          const spans = bytes.length / SPAN_BYTES;
          answered += spans;
          freeAt = Math.max(freeAt, performance.now()) + (spans / BACKEND_SPANS_A_SECOND) * 1000;
          return { kind: "delay", ms: freeAt - performance.now() };
        };
        for (let second = 0; second < SECONDS; second++) {
          await pass(1000);
          peak = Math.max(peak, peakOf(victim.pid) ?? (await victim.metric("otelcol_process_memory_rss")) ?? 0);
          if (load.figures.refused > 0) refusedAfter = Math.min(refusedAfter, second);
        }
        offered = load.figures.sent / SECONDS;
        taken = answered / SECONDS;
        // The backend recovers.
        sink.faults = undefined;
      },
    });
    const mib = Math.ceil(peak / MIB);
    process.stdout.write(`resident memory at most ${mib} MiB; refused first after ${refusedAfter} s\n`);
    expect(taken).toBeLessThan(BACKEND_SPANS_A_SECOND * 2);
    expect(offered).toBeGreaterThan(BACKEND_SPANS_A_SECOND * TIMES);
    expect(outcome.refused).toBeGreaterThan(0);
    expect(outcome.reasons.flatMap((map) => [...map.keys()]).join(" ")).toMatch(/high memory usage|HTTP 503/);
    expect(mib).toBeLessThan(LIMIT_MIB + 100);
    expectNothingLost(outcome, (BACKEND_SPANS_A_SECOND * SECONDS) / 2);
  },
  SECONDS * 1000 + 240_000,
);
