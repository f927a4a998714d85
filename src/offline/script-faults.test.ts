/** Faults of the scripts that these commands replace, each as a test that shows what happens here; others are named in convert.test.ts, compat.test.ts and stats.test.ts. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { convertToJaeger, Workplace } from "../../test/kit/offline.ts";
import type { JaegerTrace } from "./jaeger/model.ts";
import { NO_PROGRESS } from "./reading.ts";
import { stats } from "./stats/stats.ts";

const ID = "6a3c1f9e-2b47-4d2c-9a51-0f1e2d3c4b5a";
const SUFFIX =
  ', client: 127.0.0.1, server: localhost, request: "POST /v1/chat/completions HTTP/1.1", host: "127.0.0.1:7000"';
/** 2026-11-22 04:30:00 UTC. */
const EPOCH = 1_795_321_800;

const PROXY: readonly (readonly [string, number])[] = [
  ["Start to schedule", 0],
  ["Time received", 0.001],
  ["Enter state tokenization", 0.002],
  ["Enter state P waiting", 0.003],
  ["Enter state P running", 0.004],
  ["Finish P running", 0.1],
  ["Enter state D waiting", 0.101],
  ["Enter state D running", 0.102],
  ["Proxy got first token", 0.15],
  ["Received all tokens", 0.5],
];

function proxyLog(actions = PROXY): string {
  return actions
    .map(
      ([action, at]) =>
        `2026/11/22 04:30:00 [info] 7#0: *1 <<<Action: ${action}; Timestamp:${(EPOCH + at).toFixed(6)}; RequestID:${ID}${SUFFIX}\n`,
    )
    .join("");
}

function engineLine(action: string, at: number, role = "decode"): string {
  return `2026-11-22 04:30:00,000 - <<<Action: ${action}; Timestamp:${(EPOCH + at).toFixed(6)}; RequestID:chatcmpl-${ID}; Role:${role}_10.0.0.3\n`;
}

describe("convert, where the scripts", () => {
  let place: Workplace;
  beforeEach(() => {
    place = new Workplace();
  });
  afterEach(() => place.remove());

  /** The request's own trace. */
  async function only(): Promise<JaegerTrace> {
    const { report, traces } = await convertToJaeger(place.at("logs"), place.at("out.json"), { skip: 0 });
    expect(report).toMatchObject({ requests: 1, outcomes: { ok: 1 } });
    return traces.at(-1) as JaegerTrace;
  }
  const named = (trace: JaegerTrace, name: string) => trace.spans.find(({ operationName }) => operationName === name);

  it("want 36 actions of any names: shows a request that has ten, and one with 40 others no better", async () => {
    place.write("logs/nginx_error.log", proxyLog());
    place.write(
      "logs/log_pid_1_tid_1.log",
      Array.from({ length: 40 }, (_, n) => engineLine(`Something else ${n}`, 0.2)).join(""),
    );
    const trace = await only();
    expect(named(trace, "Trace for Omni Proxy")?.duration).toBe(500_000);
    expect(named(trace, "P running")?.duration).toBe(96_000);
    expect(trace.spans.some(({ operationName }) => operationName.startsWith("Something else"))).toBe(false);
  });

  it("take the text behind a comma in an action's name for a field: reads on behind `Decode send ip, rank`", async () => {
    place.write("logs/nginx_error.log", proxyLog());
    place.write(
      "logs/decode.log",
      engineLine("Add need pulling sequence", 0.11) +
        engineLine("Decode send ip, rank", 0.115) +
        engineLine("Finish pull kv", 0.13),
    );
    const trace = await only();
    expect(named(trace, "Pull kv")?.duration).toBe(20_000);
    expect(trace.spans.some(({ operationName }) => operationName.includes("rank"))).toBe(false);
  });

  it("print `try to schedule in waiting queue` at every step: takes the first of ten thousand", async () => {
    place.write("logs/nginx_error.log", proxyLog());
    const repeated = Array.from({ length: 10_000 }, (_, n) =>
      engineLine("try to schedule in waiting queue", 0.01 + n * 1e-6, "prefill"),
    );
    place.write(
      "logs/prefill.log",
      engineLine("PD api server get request", 0.006, "prefill") +
        repeated.join("") +
        engineLine("success add to seq groups", 0.03, "prefill"),
    );
    const trace = await only();
    expect(named(trace, "Add to running for prefill")?.duration).toBe(24_000);
    expect(trace.spans.filter(({ operationName }) => operationName === "Add to running for prefill")).toHaveLength(1);
  });

  it("skip the rest of a file at a line without a role: reads a file in which nginx's and vLLM's lines are mixed", async () => {
    const lines = proxyLog().split("\n");
    place.write(
      "logs/all.log",
      [
        ...lines.slice(0, 8),
        engineLine("Add need pulling sequence", 0.11).trimEnd(),
        engineLine("Finish pull kv", 0.13).trimEnd(),
        ...lines.slice(8),
      ].join("\n"),
    );
    const trace = await only();
    expect(named(trace, "Pull kv")?.duration).toBe(20_000);
    expect(named(trace, "D running")?.duration).toBe(398_000);
  });

  it("write negative durations where clocks differ: has none", async () => {
    place.write("logs/nginx_error.log", proxyLog());
    place.write("logs/decode.log", engineLine("Add need pulling sequence", 0.14) + engineLine("Finish pull kv", 0.12));
    const trace = await only();
    for (const { duration } of trace.spans) expect(duration).toBeGreaterThanOrEqual(0);
    expect(named(trace, "Pull kv")?.duration).toBe(0);
  });

  it("name a service after every span: has one for each program", async () => {
    place.write("logs/nginx_error.log", proxyLog());
    place.write("logs/decode.log", engineLine("Add need pulling sequence", 0.11) + engineLine("Finish pull kv", 0.13));
    const { processes } = await only();
    expect(
      Object.values(processes)
        .map(({ serviceName }) => serviceName)
        .sort(),
    ).toEqual(["omni-proxy", "vllm-decode"]);
  });

  it("take microseconds above 1e15 for nanoseconds: stats --csv puts operations in order of their true start", async () => {
    place.write("logs/nginx_error.log", proxyLog());
    const trace = await only();
    // The same trace 24 years earlier: its microseconds are below 1e15, the other's above.
    const early = {
      ...trace,
      traceID: `${"0".repeat(31)}1`,
      spans: trace.spans.map((span) => ({
        ...span,
        traceID: `${"0".repeat(31)}1`,
        operationName: `early ${span.operationName}`,
        startTime: span.startTime - 826e12,
      })),
    };
    expect(Math.max(...early.spans.map(({ startTime }) => startTime))).toBeLessThan(1e15);
    place.write("both.json", JSON.stringify({ data: [trace, early] }));
    const { csv = "" } = await stats(
      {
        source: place.at("both.json"),
        reading: { otlp: [], timezone: "auto", service: "", fromMs: 0, toMs: 0, limit: 0, headers: {}, merge: {} },
        by: undefined,
        service: undefined,
        sinceMs: undefined,
        untilMs: undefined,
        csv: true,
        output: undefined,
        operation: undefined,
      },
      NO_PROGRESS,
    );
    const names = csv
      .trimEnd()
      .split("\n")
      .slice(1)
      .map((line) => line.split(",")[0] ?? "");
    expect(names).toHaveLength(2 * trace.spans.length);
    expect(names.slice(0, trace.spans.length).every((name) => name.startsWith("early "))).toBe(true);
    expect(names.slice(trace.spans.length).some((name) => name.startsWith("early "))).toBe(false);
  });
});
