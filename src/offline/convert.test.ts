import { readdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readCapture } from "../../test/kit/captures.ts";
import { spansOf } from "../../test/kit/merge-run.ts";
import { convertOptions, convertToJaeger, Workplace } from "../../test/kit/offline.ts";
import { type ConvertOptions, type ConvertReport, convert } from "./convert.ts";
import type { JaegerSpan, JaegerTrace } from "./jaeger/model.ts";
import { EXIT, Problem } from "./problem.ts";
import { NO_PROGRESS } from "./reading.ts";
import { SUMMARY_SERVICE } from "./summary/summary.ts";

const everything = { ids: [], sinceMs: undefined, untilMs: undefined, top: undefined } as const;

function tagsOf(span: JaegerSpan | undefined): Record<string, unknown> {
  return Object.fromEntries((span?.tags ?? []).map(({ key, value }) => [key, value]));
}

function rootOf(trace: JaegerTrace): JaegerSpan {
  return trace.spans.find(({ operationName }) => operationName === "Trace for Omni Proxy") as JaegerSpan;
}

function isSummary(trace: JaegerTrace): boolean {
  return Object.values(trace.processes).every(({ serviceName }) => serviceName === SUMMARY_SERVICE);
}

/** Lines of error.log that belong to the connections of a capture's first requests. */
function firstRequests(name: string, count: number): string {
  const log = readCapture(name).errorLog.toString("latin1").split("\n");
  const head = log.filter((line) => !/#\d+: \*\d+ |RequestID:/.test(line));
  const numbers = [...new Set(log.flatMap((line) => /: \*(\d+) <<<Action: Time received/.exec(line)?.[1] ?? []))].slice(
    0,
    count,
  );
  const ids = new Set(
    log.flatMap((line) =>
      numbers.some((n) => line.includes(`: *${n} <<<`)) ? (/RequestID:([0-9a-zA-Z-]+)/.exec(line)?.[1] ?? []) : [],
    ),
  );
  return `${[
    ...head.slice(0, 5),
    ...log.filter(
      (line) =>
        numbers.some((n) => line.includes(`: *${n} `)) || [...ids].some((id) => line.endsWith(`RequestID:${id}`)),
    ),
  ].join("\n")}\n`;
}

describe("convert", () => {
  let place: Workplace;
  beforeEach(() => {
    place = new Workplace();
  });
  afterEach(() => place.remove());

  async function problem(options: ConvertOptions): Promise<Problem> {
    try {
      await convert(options, NO_PROGRESS);
    } catch (error) {
      if (error instanceof Problem) return error;
      throw error;
    }
    throw new Error("no Problem was thrown");
  }

  it("convert makes a trace for every request, whatever its id, whatever is missing of it", async () => {
    for (const name of [
      "proxy-mock/seq-basic",
      "proxy-mock/seq-failures",
      "proxy-mock/aggregation",
      "proxy-mock/seq-tokenizer-broken",
    ]) {
      const { traces, report } = await convertToJaeger(place.logs(name, name), place.at("trace.json"), { skip: 0 });
      const roots = traces
        .filter((trace) => !isSummary(trace))
        .flatMap(({ spans }) => spans.filter(({ operationName }) => operationName === "Trace for Omni Proxy"));
      expect(roots, name).toHaveLength(readCapture(name).manifest.length);
      expect(report.requests, name).toBe(roots.length);
    }
  });

  it("convert keeps ids of any form when log_to_jaeger.py's pattern takes lower-case letters, digits and dashes only", async () => {
    const { traces } = await convertToJaeger(place.logs("proxy-mock/seq-basic"), place.at("trace.json"));
    const ids = new Set(
      traces.filter((trace) => !isSummary(trace)).map((trace) => tagsOf(rootOf(trace))["request_id"]),
    );
    for (const id of ["my-req_1.2", "", "id-ü中"]) expect(ids, id).toContain(id);
    expect([...ids].filter((id) => String(id).length === 60)).toHaveLength(1);
  });

  it("convert names spans, services and parents when log_to_jaeger.py has 45 services and blank operations in a chain", async () => {
    const { traces } = await convertToJaeger(place.logs("proxy-vllm/grpc"), place.at("trace.json"), {
      otlp: [place.recording("proxy-vllm/grpc")],
    });
    const whole = traces.find(
      (trace) =>
        !isSummary(trace) && trace.spans.filter(({ operationName }) => operationName === "llm_request").length === 2,
    ) as JaegerTrace;
    expect(
      Object.values(whole.processes)
        .map(({ serviceName }) => serviceName)
        .sort(),
    ).toEqual(["omni-proxy", "vllm-decode", "vllm-prefill"]);
    const names = new Map(whole.spans.map(({ spanID, operationName }) => [spanID, operationName]));
    const parents = whole.spans.map(({ operationName, references }) => [
      operationName,
      names.get(references?.[0]?.spanID ?? ""),
    ]);
    expect(parents).toContainEqual(["P running", "Trace for Omni Proxy"]);
    expect(parents).toContainEqual(["llm_request", "P running"]);
    expect(parents).toContainEqual(["llm_request", "D running"]);
    for (const { operationName, spanID, duration } of whole.spans) {
      expect(operationName.trim()).not.toBe("");
      expect(spanID).toMatch(/^[0-9a-f]{16}$/);
      expect(duration).toBeGreaterThanOrEqual(0);
    }
  });

  it("convert puts boot-clock stamps and unix stamps of one request on one time line", async () => {
    // log_to_jaeger.py subtracts 1795321880 from 1092 here.
    const capture = readCapture("proxy-mock/seq-basic");
    const { traces } = await convertToJaeger(place.logs("proxy-mock/seq-basic"), place.at("trace.json"));
    const byId = new Map(
      traces.filter((trace) => !isSummary(trace)).map((trace) => [tagsOf(rootOf(trace))["request_id"], trace]),
    );
    const used = [...capture.requestIds.values()];
    let compared = 0;
    for (const { i, t_start, t_end } of capture.manifest) {
      const trace = byId.get(capture.requestIds.get(i) ?? "-");
      if (!trace || used.filter((id) => id === capture.requestIds.get(i)).length > 1) continue;
      const root = rootOf(trace);
      expect(root.startTime / 1e6, `request ${i}`).toBeGreaterThan(t_start - 0.01);
      expect((root.startTime + root.duration) / 1e6, `request ${i}`).toBeLessThan(t_end + 0.5);
      compared++;
    }
    expect(compared).toBeGreaterThan(60);
  });

  describe("with few requests", () => {
    it("convert writes the trace and no statistics when there is one request only, where log_to_jaeger.py fails on req_template", async () => {
      const log = place.write("one/nginx_error.log", Buffer.from(firstRequests("proxy-mock/seq-basic", 1), "latin1"));
      const { traces, report } = await convertToJaeger(log, place.at("trace.json"));
      expect(report.summaries).toEqual({ traces: 0, requests: 0, skipped: 1 });
      expect(traces).toHaveLength(1);
      expect(traces[0]?.spans.length).toBeGreaterThan(10);
    });

    it("convert writes both traces when skipping leaves no request of two, where log_to_jaeger.py fails in numpy.percentile", async () => {
      const log = place.write("two/nginx_error.log", Buffer.from(firstRequests("proxy-mock/seq-basic", 2), "latin1"));
      const { traces, report } = await convertToJaeger(log, place.at("trace.json"));
      expect(report.summaries).toEqual({ traces: 0, requests: 0, skipped: 2 });
      expect(traces).toHaveLength(2);
      const { report: all } = await convertToJaeger(log, place.at("trace.json"), { skip: 0 });
      expect(all.summaries).toEqual({ traces: 5, requests: 2, skipped: 0 });
    });

    it("convert says that nothing was found, leaves no file and ends with 2 when no log has a request", async () => {
      place.write("logs/app.log", "hello\nworld\n");
      const error = await problem(convertOptions(place.at("logs"), place.at("trace.json")));
      expect(error.exitCode).toBe(EXIT.nothing);
      expect(error.message).toContain("no request in it");
      expect(readdirSync(place.path)).toEqual(["logs"]);
    });

    it("convert says that there is no such folder", async () => {
      const error = await problem(convertOptions(place.at("nowhere"), place.at("trace.json")));
      expect(error.message).toContain("nowhere: cannot be read");
      expect(error.exitCode).toBe(EXIT.failed);
    });
  });

  describe("selection", () => {
    it("convert gives the chosen requests a trace and leaves the statistics alone", async () => {
      const logs = place.logs("proxy-mock/seq-basic");
      const { traces: all } = await convertToJaeger(logs, place.at("all.json"));
      const { traces, report } = await convertToJaeger(logs, place.at("some.json"), {
        selection: { ...everything, ids: ["my-req_1.2", "nobody"] },
      });
      expect(traces.filter(isSummary)).toEqual(all.filter(isSummary));
      const chosen = traces.filter((trace) => !isSummary(trace));
      expect(chosen.map((trace) => tagsOf(rootOf(trace))["request_id"])).toEqual(["my-req_1.2", "my-req_1.2"]);
      expect(report.missingIds).toEqual(["nobody"]);
    });

    it("convert ends with 2, names the ids and leaves no file when none of them is in the logs, where log_to_jaeger.py ends with 0", async () => {
      const error = await problem(
        convertOptions(place.logs("proxy-mock/seq-basic"), place.at("trace.json"), {
          selection: { ...everything, ids: ["a1", "b2"] },
        }),
      );
      expect(error.exitCode).toBe(EXIT.nothing);
      expect(error.message).toContain("a1, b2");
      expect(readdirSync(place.path)).toEqual(["logs"]);
    });

    it("convert takes requests by their start when --since and --until are given, in traces and statistics", async () => {
      const logs = place.logs("proxy-mock/seq-basic");
      const { traces: all } = await convertToJaeger(logs, place.at("all.json"), { skip: 0 });
      const starts = all
        .filter((trace) => !isSummary(trace))
        .map((trace) => rootOf(trace).startTime)
        .sort((a, b) => a - b);
      const [since, until] = [starts[10] as number, starts[30] as number];
      const { traces, report } = await convertToJaeger(logs, place.at("some.json"), {
        skip: 0,
        selection: { ...everything, sinceMs: since / 1000, untilMs: until / 1000 },
      });
      const got = traces.filter((trace) => !isSummary(trace)).map((trace) => rootOf(trace).startTime);
      expect(got.sort((a, b) => a - b)).toEqual(starts.slice(10, 30));
      expect(report.summaries.requests).toBeLessThanOrEqual(20);
    });

    it("convert writes the slowest requests, the slowest first, when asked for the top", async () => {
      const logs = place.logs("proxy-mock/seq-basic");
      const { traces: all } = await convertToJaeger(logs, place.at("all.json"));
      const ttft = (trace: JaegerTrace): number => Number(tagsOf(rootOf(trace))["omni.ttft_seconds"] ?? 0);
      const slowest = all
        .filter((trace) => !isSummary(trace))
        .map(ttft)
        .sort((a, b) => b - a)
        .slice(0, 5);
      const { traces } = await convertToJaeger(logs, place.at("top.json"), {
        selection: { ...everything, top: { count: 5, by: "ttft" } },
      });
      expect(traces.filter((trace) => !isSummary(trace)).map(ttft)).toEqual(slowest);
    });
  });

  describe("summary traces", () => {
    it("convert makes average and percentile traces over what is left after skipping, linked to the nearest request", async () => {
      const { traces, report } = await convertToJaeger(place.logs("proxy-mock/aggregation"), place.at("trace.json"), {
        skip: 3,
      });
      const summaries = traces.filter(isSummary);
      expect(summaries.map(({ spans }) => spans[0]?.operationName)).toEqual([
        "Request TP99 Percentile Trace",
        "Request TP95 Percentile Trace",
        "Request TP90 Percentile Trace",
        "Request TP50 Percentile Trace",
        "Request Average Trace",
      ]);
      expect(traces.slice(0, 5)).toEqual(summaries);
      const requests = traces.filter((trace) => !isSummary(trace) && tagsOf(rootOf(trace))["omni.outcome"] === "ok");
      const middle = requests.sort((a, b) => rootOf(a).startTime - rootOf(b).startTime).slice(3, -3);
      expect(report.summaries).toEqual({ traces: 5, requests: middle.length, skipped: 6 });
      const average = summaries[4] as JaegerTrace;
      const mean = (name: string): number => {
        const values = middle.flatMap(({ spans }) =>
          spans.filter(({ operationName }) => operationName === name).map(({ duration }) => duration),
        );
        return values.reduce((sum, value) => sum + value, 0) / values.length;
      };
      expect(average.spans[0]?.duration).toBe(Math.floor(mean("Trace for Omni Proxy")));
      for (const name of ["D waiting", "D running", "TTFT", "TPOT1"]) {
        const span = average.spans.find(({ operationName }) => operationName === name);
        expect(span?.duration, name).toBe(Math.floor(mean(name)));
      }
      for (const summary of summaries) {
        const link = summary.spans[0]?.references?.[0];
        const near = middle.find((trace) => trace.traceID === link?.traceID) as JaegerTrace;
        expect(link).toEqual({ refType: "FOLLOWS_FROM", traceID: near.traceID, spanID: rootOf(near).spanID });
        const gap = (trace: JaegerTrace): number =>
          Math.abs(rootOf(trace).duration - (summary.spans[0]?.duration ?? 0));
        expect(gap(near)).toBe(Math.min(...middle.map(gap)));
      }
    });

    it("convert has a span in the averages when some requests have it and the last one lacks it, where log_to_jaeger.py leaves it out", async () => {
      const { traces } = await convertToJaeger(place.logs("proxy-mock/seq-basic"), place.at("trace.json"), { skip: 0 });
      const counts = (traces[4] as JaegerTrace).spans.map((span) => [
        span.operationName,
        Number(tagsOf(span)["omni.summary.count"]),
      ]);
      const [all] = counts.map(([, count]) => count as number);
      const some = counts.filter(([, count]) => (count as number) < (all as number)).map(([name]) => name);
      expect(some).toEqual(expect.arrayContaining(["Proxy received request", "TPOT1", "TPOT2"]));
    });

    it("convert gives the same summary traces when it runs again", async () => {
      const logs = place.logs("proxy-mock/aggregation");
      const first = await convertToJaeger(logs, place.at("1.json"));
      const second = await convertToJaeger(logs, place.at("2.json"));
      expect(second.traces).toEqual(first.traces);
    });
  });

  describe("files", () => {
    it("convert reads rotated and gzip files as one log, oldest first", async () => {
      const { errorLog, accessLog } = readCapture("proxy-mock/seq-basic");
      const cut = (part: number): number => errorLog.indexOf(10, Math.floor(errorLog.length * part)) + 1;
      place.write("logs/nginx_error.log", errorLog.subarray(cut(0.7)));
      place.write("logs/nginx_error.log.1", errorLog.subarray(cut(0.4), cut(0.7)));
      place.write("logs/nginx_error.log.2.gz", gzipSync(errorLog.subarray(0, cut(0.4))));
      place.write("logs/nginx_access.log-20261122.gz", gzipSync(accessLog));
      const { traces, report } = await convertToJaeger(place.at("logs"), place.at("a.json"));
      const { traces: plain } = await convertToJaeger(place.logs("proxy-mock/seq-basic", "plain"), place.at("b.json"));
      expect(report.logs).toBe(2);
      expect(traces).toEqual(plain);
    });

    it("convert names the hosts of collect_logs.sh's layout", async () => {
      const { errorLog } = readCapture("proxy-mock/aggregation");
      place.write("all/nginx_10.1.2.3.log", errorLog);
      const { traces } = await convertToJaeger(place.at("all"), place.at("trace.json"));
      const process = Object.values(traces.find((trace) => !isSummary(trace))?.processes ?? {})[0];
      expect(process?.tags).toContainEqual({ key: "host.name", type: "string", value: "10.1.2.3" });
      place.write("other/logs_10.9.9.9/nginx_error.log", errorLog);
      const other = await convertToJaeger(place.at("other"), place.at("other.json"));
      const second = Object.values(other.traces.find((trace) => !isSummary(trace))?.processes ?? {})[0];
      expect(second?.tags).toContainEqual({ key: "host.name", type: "string", value: "10.9.9.9" });
    });

    it("convert goes on and tells of it when a gzip file is cut short or a file is compressed otherwise", async () => {
      const { errorLog } = readCapture("proxy-mock/aggregation");
      const packed = gzipSync(errorLog);
      place.write("logs/nginx_error.log.gz", packed.subarray(0, packed.length - 2000));
      place.write("logs/older.log.xz", "xz");
      const { report } = await convertToJaeger(place.at("logs"), place.at("trace.json"));
      expect(report.requests).toBeGreaterThan(10);
      expect(report.damagedFiles.map(({ path }) => path)).toEqual([place.at("logs/nginx_error.log.gz")]);
      expect(report.skippedFiles.map(({ path }) => path)).toEqual([place.at("logs/older.log.xz")]);
    });

    it("convert splits files below the limit and loses nothing", async () => {
      const logs = place.logs("proxy-mock/seq-basic");
      const { traces: whole } = await convertToJaeger(logs, place.at("whole.json"), { maxFileBytes: 0 });
      const { traces, report } = await convertToJaeger(logs, place.at("parts-x.json"), {
        maxFileBytes: 200_000,
      });
      expect(report.files.map(({ path }) => path.slice(place.path.length + 1))).toEqual(
        report.files.map((_, i) => (i === 0 ? "parts-x.json" : `parts-x-${i + 1}.json`)),
      );
      expect(report.files.length).toBeGreaterThan(2);
      for (const { path, bytes } of report.files) {
        expect(bytes).toBe(readFileSync(path).length);
        expect(bytes).toBeLessThanOrEqual(200_000);
      }
      expect(traces).toEqual(whole);
      expect(readdirSync(place.path).filter((name) => name.includes("part-"))).toEqual([]);
    });

    it("convert leaves the file of an earlier run as it was when it fails", async () => {
      place.write("trace.json", "earlier");
      await problem(
        convertOptions(place.logs("proxy-mock/smoke"), place.at("trace.json"), {
          otlp: [place.write("bad.bin", Buffer.from([9, 9, 9]))],
        }),
      );
      expect(place.read("trace.json")).toBe("earlier");
      expect(readdirSync(place.path).sort()).toEqual(["bad.bin", "logs", "trace.json"]);
    });

    it("convert says where it cannot write", async () => {
      const error = await problem(
        convertOptions(place.logs("proxy-mock/smoke"), place.at("no/such/folder/trace.json")),
      );
      expect(error.message).toContain("no/such/folder/trace.json.part-1: cannot be written");
    });

    it.each(["otlp-json", "otlp-proto"] as const)(
      "convert writes %s that it reads back to the same spans",
      async (format) => {
        const logs = place.logs("proxy-vllm/grpc");
        const recording = place.recording("proxy-vllm/grpc");
        const out = place.at("out");
        await convert(convertOptions(logs, out, { format, otlp: [recording] }), NO_PROGRESS);
        // A recording of finished traces goes through unchanged: nothing of it names a request that a log here has.
        const again = place.at("again.json");
        await convert(
          convertOptions(place.logs("proxy-mock/smoke", "none"), again, { otlp: [out], maxFileBytes: 0 }),
          NO_PROGRESS,
        );
        const { traces } = await convertToJaeger(logs, place.at("direct.json"), { otlp: [recording] });
        const ids = (list: readonly JaegerTrace[]): string[] =>
          list.flatMap(({ spans }) => spans.map(({ traceID, spanID }) => `${traceID}/${spanID}`)).sort();
        const reread = (JSON.parse(readFileSync(again, "utf8")) as { data: JaegerTrace[] }).data;
        expect(ids(reread)).toEqual(expect.arrayContaining(ids(traces)));
      },
    );
  });

  describe("endpoint", () => {
    let server: Server;
    let answers: ((request: IncomingMessage) => { status: number; headers?: Record<string, string> })[];
    let bodies: Buffer[];
    let seen: IncomingMessage[];
    beforeEach(async () => {
      answers = [];
      bodies = [];
      seen = [];
      server = createServer((request, response) => {
        const chunks: Buffer[] = [];
        request.on("data", (chunk: Buffer) => chunks.push(chunk));
        request.on("end", () => {
          seen.push(request);
          const { status, headers } = (answers.shift() ?? (() => ({ status: 200, headers: {} })))(request);
          if (status === 200) bodies.push(gunzipSync(Buffer.concat(chunks)));
          response.writeHead(status, headers).end(status === 200 ? "" : "not now");
        });
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    });
    afterEach(() => new Promise((resolve) => server.close(resolve)));

    function send(changes: Partial<ConvertOptions> = {}): Promise<ConvertReport> {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      return convert(
        convertOptions(place.logs("proxy-mock/aggregation"), undefined, {
          endpoint: { url, headers: { "x-who": "me" }, firstWaitMs: 1 },
          ...changes,
        }),
        NO_PROGRESS,
      );
    }

    it("convert sends to an endpoint what it would write, and leaves no file", async () => {
      const report = await send();
      expect(report.endpoint?.requests).toBe(bodies.length);
      expect(seen[0]?.url).toBe("/v1/traces");
      expect(seen[0]?.headers).toMatchObject({ "content-type": "application/x-protobuf", "x-who": "me" });
      const spans = bodies.flatMap((body) => spansOf(body));
      const roots = spans.filter(({ name }) => name === "Trace for Omni Proxy");
      expect(roots).toHaveLength(report.requests);
      expect(
        spans.filter(({ service, parentSpanId }) => service === SUMMARY_SERVICE && parentSpanId === ""),
      ).toHaveLength(5);
      expect(readdirSync(place.path)).toEqual(["logs"]);
    });

    it("convert tries again when the endpoint says so, after the time it names", async () => {
      answers = [() => ({ status: 503, headers: { "retry-after": "0" } }), () => ({ status: 429 })];
      const report = await send();
      expect(report.endpoint?.retries).toBe(2);
      const roots = bodies.flatMap((body) => spansOf(body)).filter(({ name }) => name === "Trace for Omni Proxy");
      expect(roots).toHaveLength(report.requests);
    });

    it("convert fails with the endpoint's answer when it is final", async () => {
      answers = [() => ({ status: 400 })];
      await expect(send()).rejects.toThrow(/answered 400 not now/);
      expect(seen).toHaveLength(1);
    });
  });

  it("convert refuses options that exclude each other", async () => {
    const logs = place.logs("proxy-mock/smoke");
    for (const changes of [
      { out: undefined },
      { compat: true, format: "otlp-json" },
      { compat: true, otlp: ["x"] },
      { selection: { ...everything, sinceMs: 2, untilMs: 1 } },
    ] as Partial<ConvertOptions>[]) {
      const error = await problem({ ...convertOptions(logs, place.at("t.json")), ...changes });
      expect(error.exitCode).toBe(EXIT.failed);
    }
  });
});
