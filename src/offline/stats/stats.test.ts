import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { JaegerApi } from "../../../test/kit/jaeger-api.ts";
import { convertOptions, convertToJaeger, Workplace } from "../../../test/kit/offline.ts";
import { freePorts } from "../../../test/kit/process.ts";
import { convert } from "../convert.ts";
import type { JaegerTrace } from "../jaeger/model.ts";
import { percentile } from "../numbers/percentile.ts";
import { EXIT, Problem } from "../problem.ts";
import { NO_PROGRESS } from "../reading.ts";
import { SUMMARY_SERVICE } from "../summary/summary.ts";
import { GROUPINGS, type Row, type Statistics } from "./collector.ts";
import { CSV_COLUMNS } from "./operations.ts";
import { type StatsOptions, type StatsReport, stats } from "./stats.ts";
import { describeExtremes, describeStatistics } from "./text.ts";

/** The hour in which the captures were made. */
const FROM_MS = Date.parse("2026-11-22T04:00:00Z");
const TO_MS = Date.parse("2026-11-22T06:00:00Z");

function options(
  source: string,
  changes: Partial<StatsOptions> = {},
  reading: Partial<StatsOptions["reading"]> = {},
): StatsOptions {
  return {
    source,
    reading: {
      otlp: [],
      timezone: "auto",
      service: "omni-proxy",
      fromMs: FROM_MS,
      toMs: TO_MS,
      limit: 1000,
      headers: {},
      merge: {},
      ...reading,
    },
    by: undefined,
    service: undefined,
    sinceMs: undefined,
    untilMs: undefined,
    csv: false,
    output: undefined,
    operation: undefined,
    ...changes,
  };
}

function run(given: StatsOptions): Promise<StatsReport> {
  return stats(given, NO_PROGRESS);
}

/** Rows by name. */
function rows(statistics: Statistics | undefined, key = ""): Map<string, Row> {
  const table = statistics?.tables.find((other) => other.key === key);
  return new Map([...(table?.stages ?? []), ...(table?.figures ?? [])].map((row) => [row.name, row]));
}

describe("stats", () => {
  let place: Workplace;
  let logs: string;
  let otlp: string[];
  let traces: JaegerTrace[];
  beforeEach(async () => {
    place = new Workplace();
    logs = place.logs("proxy-vllm/grpc");
    otlp = [place.recording("proxy-vllm/grpc")];
    traces = (await convertToJaeger(logs, place.at("trace.json"), { otlp })).traces;
  });
  afterEach(() => place.remove());

  it("stats gives count, mean, extremes, numpy's percentiles and the share of every stage", async () => {
    const { statistics } = await run(options(logs, {}, { otlp }));
    const real = traces.filter(
      ({ processes }) => !Object.values(processes).some(({ serviceName }) => serviceName === SUMMARY_SERVICE),
    );
    const spans = real.flatMap((trace) => trace.spans);
    const total = spans
      .filter(({ operationName }) => operationName === "Trace for Omni Proxy")
      .reduce((sum, { duration }) => sum + duration, 0);
    for (const name of ["Trace for Omni Proxy", "P running", "D waiting", "TTFT", "TPOT1"]) {
      const sorted = spans
        .filter(({ operationName }) => operationName === name)
        .map(({ duration }) => duration / 1000)
        .sort((a, b) => a - b);
      const sum = sorted.reduce((all, value) => all + value, 0);
      const row = rows(statistics).get(name) as Row;
      expect(row.count, name).toBe(sorted.length);
      expect(row.mean, name).toBeCloseTo(sum / sorted.length, 9);
      for (const [i, q] of [0, 50, 90, 95, 99, 100].entries()) {
        const wanted = percentile(sorted, q);
        const got = [row.min, row.p50, row.p90, row.p95, row.p99, row.max][i] as number;
        expect(Math.abs(got - wanted), `${name} p${q}`).toBeLessThanOrEqual(wanted * 1e-9);
      }
      if (name.startsWith("T") && name !== "Trace for Omni Proxy") expect(row.share, name).toBeUndefined();
      else expect(row.share, name).toBeCloseTo((sum * 1000) / total, 9);
    }
    const names = [...rows(statistics).keys()];
    for (const name of [
      "end-to-end",
      "TTFT",
      "TPOT",
      "prefill",
      "decode",
      "queue",
      "llm_request (prefill)",
      "llm_request (decode)",
    ])
      expect(names).toContain(name);
    expect(names.slice(0, 4)).toEqual([
      "Trace for Omni Proxy",
      "Proxy received request",
      "Process request",
      "Tokenizer",
    ]);
  });

  it("stats counts requests, complete ones, and those without spans by cause", async () => {
    const { statistics } = await run(options(logs, {}, { otlp }));
    expect(statistics?.requests).toMatchObject({
      seen: 57,
      outcomes: { ok: 53, rejected: 2, client_disconnected: 2 },
      withoutPrefillSpanBy: { rejected: 2, unsampled: 1 },
      withoutDecodeSpanBy: { client_disconnected: 2, unsampled: 1 },
      examples: [],
    });
    const { statistics: bare } = await run(options(logs));
    expect(bare?.requests).toMatchObject({ seen: 57, withoutPrefillSpan: 57, complete: 0 });
    expect(describeStatistics(bare as Statistics, undefined, false)).toContain("vLLM's spans were not given (--otlp)");
  });

  it("stats says the same of logs, of OTLP in both encodings, of a Jaeger file and of Jaeger's API v1 and v3", async () => {
    const wanted = (await run(options(logs, {}, { otlp }))).statistics as Statistics;
    for (const format of ["otlp-json", "otlp-proto"] as const)
      await convert(convertOptions(logs, place.at(format), { format, otlp }), NO_PROGRESS);
    const v1 = await new JaegerApi(traces).start();
    const v3 = await new JaegerApi(traces, ["v3"]).start();
    try {
      for (const source of [place.at("otlp-json"), place.at("otlp-proto"), place.at("trace.json"), v1.url, v3.url]) {
        const got = (await run(options(source))).statistics as Statistics;
        expect(got.spans, source).toBe(wanted.spans - strayTraces(wanted, source));
        for (const [name, row] of rows(wanted)) {
          if (isStray(name)) continue;
          const other = rows(got).get(name) as Row;
          expect(other.count, `${source} ${name}`).toBe(row.count);
          // Jaeger keeps microseconds.
          for (const key of ["mean", "min", "p50", "p90", "p95", "p99", "max"] as const)
            expect(Math.abs(other[key] - row[key]), `${source} ${name} ${key}`).toBeLessThan(0.0011);
        }
        const { withoutPrefillSpanBy: _, withoutDecodeSpanBy: __, examples: ___, ...census } = got.requests;
        const { withoutPrefillSpanBy: _1, withoutDecodeSpanBy: _2, examples: _3, ...same } = wanted.requests;
        expect(census, source).toEqual(same);
      }
      expect(v1.asked.map(({ path }) => path)).toEqual(["/api/traces"]);
      expect(v3.asked.map(({ path }) => path)).toEqual(["/api/traces", "/api/v3/traces"]);
    } finally {
      await v1.stop();
      await v3.stop();
    }

    /** vLLM's start-up spans, which no request has. */
    function isStray(name: string): boolean {
      return !/^(Trace for|Proxy rec|Process|Tokenizer|APC|P |D |TTFT|TPOT|Received|llm_request|end-to-end|prefill|decode|queue)/.test(
        name,
      );
    }
    /** Jaeger was asked for traces of omni-proxy. */
    function strayTraces(statistics: Statistics, source: string): number {
      return source.startsWith("http") ? statistics.strays : 0;
    }
  });

  it.each(GROUPINGS)("stats makes tables by %s that hold every span once", async (by) => {
    const whole = (await run(options(logs, {}, { otlp }))).statistics as Statistics;
    const { statistics } = await run(options(logs, { by }, { otlp }));
    const sums = new Map<string, number>();
    for (const { stages } of statistics?.tables ?? [])
      for (const { name, count } of stages) sums.set(name, (sums.get(name) ?? 0) + count);
    expect(sums).toEqual(new Map((whole.tables[0]?.stages ?? []).map(({ name, count }) => [name, count])));
    const keys = (statistics?.tables ?? []).map(({ key }) => key);
    const expected = {
      role: ["(unknown)", "decode", "prefill", "proxy"],
      host: ["(unknown)", "127.0.0.1"],
      upstream: ["(unknown)", "127.0.0.1:29100", "127.0.0.1:29101"],
      policy: ["(unknown)", "sequential"],
      outcome: ["(unknown)", "client_disconnected", "ok", "rejected"],
    }[by];
    expect(keys).toEqual(expected);
  });

  it("stats takes what starts in the time that is asked for", async () => {
    const { statistics: all } = await run(options(logs));
    const untilMs = Date.parse("2026-11-22T04:38:20Z");
    const before = (await run(options(logs, { untilMs }))).statistics?.requests.seen as number;
    const after = (await run(options(logs, { sinceMs: untilMs }))).statistics?.requests.seen as number;
    expect(before + after).toBe(all?.requests.seen);
  });

  describe("--csv", () => {
    it("stats --csv has analyze_jaeger_all_spans_to_csv.py's columns, six decimals, in order of the earliest start", async () => {
      const { csv } = await run(options(place.at("trace.json"), { csv: true, service: "omni-proxy" }));
      const [head, ...lines] = (csv as string).trimEnd().split("\n");
      expect(head).toBe(CSV_COLUMNS.join(","));
      expect(head).toBe("operation,count,avg_ms,min_ms,max_ms,p50_ms,p90_ms,p95_ms,p99_ms");
      const spans = traces.flatMap(({ spans, processes }) =>
        spans.filter(({ processID }) => processes[processID]?.serviceName === "omni-proxy"),
      );
      const earliest = new Map<string, number>();
      for (const { operationName, startTime } of spans)
        earliest.set(operationName, Math.min(startTime, earliest.get(operationName) ?? Number.POSITIVE_INFINITY));
      const starts = lines.map((line) => earliest.get(line.split(",")[0] as string) as number);
      expect(starts).toEqual([...starts].sort((a, b) => a - b));
      expect(new Set(lines.map((line) => line.split(",")[0]))).toEqual(new Set(earliest.keys()));
      const sorted = spans
        .filter(({ operationName }) => operationName === "P running")
        .map(({ duration }) => duration / 1000)
        .sort((a, b) => a - b);
      const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
      const row = lines.find((line) => line.startsWith("P running,"));
      expect(row).toBe(
        [
          "P running",
          sorted.length,
          ...[mean, ...[0, 100, 50, 90, 95, 99].map((q) => percentile(sorted, q))].map((ms) => ms.toFixed(6)),
        ].join(","),
      );
    });

    it("stats --csv quotes names as CSV has them and writes the file that is asked for", async () => {
      const [trace] = traces as [JaegerTrace];
      const odd = { ...trace, spans: trace.spans.map((span) => ({ ...span, operationName: 'a,"b"' })) };
      const file = place.write("odd.json", JSON.stringify({ data: [odd] }).replaceAll(SUMMARY_SERVICE, "omni-proxy"));
      const report = await run(options(file, { csv: true, output: place.at("out.csv") }));
      expect(report.csv).toBeUndefined();
      expect(place.read("out.csv")).toMatch(/^operation,.*\n"a,""b""",\d+,/);
    });

    it("stats says where it cannot write the CSV", async () => {
      await expect(run(options(logs, { csv: true, output: place.at("no/out.csv") }))).rejects.toThrow(
        /no\/out\.csv: cannot be written/,
      );
    });
  });

  describe("--operation", () => {
    it("stats lists the shortest and longest spans with their requests' ids, which analyze_jaeger_all_spans_to_csv.py does not know for RequestID and gen_ai.request.id", async () => {
      const { extremes } = await run(options(logs, { operation: "llm_request" }, { otlp }));
      const { shortest, longest } = extremes as NonNullable<StatsReport["extremes"]>;
      expect(shortest).toHaveLength(10);
      expect(longest).toHaveLength(10);
      for (const [i, span] of shortest.entries())
        if (i > 0) expect(span.durationMs).toBeGreaterThanOrEqual(shortest[i - 1]?.durationMs as number);
      for (const [i, span] of longest.entries())
        if (i > 0) expect(span.durationMs).toBeLessThanOrEqual(longest[i - 1]?.durationMs as number);
      for (const { requestId } of longest) expect(requestId).toMatch(/^(chatcmpl|cmpl)-/);
      const { extremes: states } = await run(options(logs, { operation: "P running" }));
      for (const { requestId } of states?.longest ?? []) expect(requestId).not.toBe("");
      expect(describeExtremes("P running", states as NonNullable<typeof states>)).toContain(
        `request_id ${states?.longest[0]?.requestId}`,
      );
      // log_to_jaeger.py's own files say RequestID.
      const { traces: compat } = await convertToJaeger(logs, place.at("compat.json"), { compat: true });
      const { extremes: old } = await run(
        options(place.at("compat.json"), { operation: compat.at(-1)?.spans[3]?.operationName ?? "" }),
      );
      expect(old?.longest[0]?.requestId).not.toBe("");
    });
  });

  describe("Jaeger", () => {
    it("stats fetches every trace once when there are more than one answer holds, where analyze_jaeger_all_spans_to_csv.py asks once", async () => {
      // 2,500 requests in half an hour; an answer holds 1,000.
      const one = traces.find(({ processes }) =>
        Object.values(processes).some(({ serviceName }) => serviceName === "omni-proxy"),
      );
      const many = Array.from({ length: 2500 }, (_, n): JaegerTrace => {
        const shift = n * 700_000;
        const traceID = String(n).padStart(32, "a");
        return {
          ...(one as JaegerTrace),
          traceID,
          spans: (one as JaegerTrace).spans
            .slice(0, 3)
            .map((span) => ({ ...span, traceID, references: [], startTime: span.startTime + shift })),
        };
      });
      const api = await new JaegerApi(many).start();
      try {
        const { source } = await run(options(api.url, {}, { limit: 0 }));
        expect(source.traces).toBe(2500);
        const { source: newest } = await run(options(api.url, {}, { limit: 1200 }));
        expect(newest.traces).toBe(1200);
        expect(api.asked.length).toBeLessThan(30);
      } finally {
        await api.stop();
      }
    });

    it("stats sends the headers that are given, where analyze_jaeger_all_spans_to_csv.py has no way to log in", async () => {
      const api = await new JaegerApi(traces).start();
      try {
        await run(options(api.url, {}, { headers: { authorization: "Bearer x" } }));
        expect(api.asked[0]?.authorization).toBe("Bearer x");
        expect(api.asked[0]?.query.get("service")).toBe("omni-proxy");
      } finally {
        await api.stop();
      }
    });

    it("stats says what is wrong when nothing listens, when it is no Jaeger, and when there are no traces", async () => {
      const nothing = await new JaegerApi([]).start();
      const noApi = await new JaegerApi([], []).start();
      const [port] = await freePorts(1);
      try {
        await expect(run(options(nothing.url))).rejects.toMatchObject({ exitCode: EXIT.nothing });
        await expect(run(options(noApi.url))).rejects.toThrow(/neither \/api\/traces nor \/api\/v3\/traces is there/);
      } finally {
        await nothing.stop();
        await noApi.stop();
      }
      await expect(run(options(`http://127.0.0.1:${port}`))).rejects.toThrow(/ECONNREFUSED.*is Jaeger's UI there\?/);
    });
  });

  it("stats says what a source may be when it is none", async () => {
    await expect(run(options(place.at("nowhere")))).rejects.toThrow(
      /give a folder with logs, a file of recorded OTLP, or Jaeger's address/,
    );
    await expect(run(options(place.write("bad.json", '{"x": 1}\n')))).rejects.toBeInstanceOf(Problem);
  });
});
