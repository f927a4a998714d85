import { createHash } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readCapture } from "../../../test/kit/captures.ts";
import { JaegerApi } from "../../../test/kit/jaeger-api.ts";
import { convertToJaeger, Workplace } from "../../../test/kit/offline.ts";
import type { JaegerTrace } from "../jaeger/model.ts";
import { EXIT, Problem } from "../problem.ts";
import { NO_PROGRESS } from "../reading.ts";
import { STYLE } from "./page/style.ts";
import { type ReportOptions, report } from "./report.ts";
import { describeReport } from "./text.ts";

/** Ids and names as somebody who wants to write the page himself would choose them. */
const HOSTILE = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>&lt;\u202e\u0007`;

describe("report", () => {
  let place: Workplace;
  beforeEach(() => {
    place = new Workplace();
  });
  afterEach(() => place.remove());

  function options(source: string, changes: Partial<ReportOptions> = {}, otlp: readonly string[] = []): ReportOptions {
    return {
      source,
      reading: {
        otlp,
        timezone: "auto",
        service: "omni-proxy",
        fromMs: Date.parse("2026-11-22T04:00:00Z"),
        toMs: Date.parse("2026-11-22T06:00:00Z"),
        limit: 1000,
        headers: {},
        merge: {},
      },
      sinceMs: undefined,
      untilMs: undefined,
      top: 20,
      by: "end-to-end",
      out: place.at("report.html"),
      jaeger: undefined,
      generator: "omnishim test",
      title: "A report",
      ...changes,
    };
  }

  it("report shows every request of a capture with failures, and where each failed", async () => {
    const capture = readCapture("proxy-mock/seq-failures");
    const data = await report(options(place.logs("proxy-mock/seq-failures")), NO_PROGRESS);
    const { statistics, timeline, failures, slowest, instances } = data;
    expect(statistics.requests.seen).toBe(capture.requestIds.size);
    expect(timeline.bins.reduce((sum, { requests }) => sum + requests, 0)).toBe(statistics.requests.seen);
    const failed = statistics.requests.seen - (statistics.requests.outcomes["ok"] ?? 0);
    expect(timeline.bins.reduce((sum, bin) => sum + bin.failed, 0)).toBe(failed);
    expect(failures.reduce((sum, { count }) => sum + count, 0)).toBe(failed);
    expect(slowest.requests).toHaveLength(20);
    const e2e = slowest.requests.map(({ figures }) => figures["end-to-end"] ?? 0);
    expect(e2e).toEqual(e2e.toSorted((a, b) => b - a));
    expect(instances.map(({ title, rows }) => [title, rows[0]?.name, rows[0]?.failed])).toEqual([
      ["Prefill instances: P running", "127.0.0.1:18201", statistics.requests.outcomes["prefill_failed"]],
      ["Decode instances: D running to first token", "127.0.0.1:18202", 0],
      ["Decode instances: D running", "127.0.0.1:18202", statistics.requests.outcomes["decode_failed"]],
    ]);
    const page = place.read("report.html");
    for (const { id } of slowest.requests) expect(page).toContain(id);
    expect(page).toContain("upstream timed out (110: Connection timed out)");
    expect(describeReport(data, "report.html")).toMatch(/^report\.html: 30 requests in 30 traces\n {2}medians: TTFT /);
  });

  it("report's stages of a request add up to its end-to-end time", async () => {
    const { timeline, distributions } = await report(options(place.logs("proxy-mock/seq-basic")), NO_PROGRESS);
    const endToEnd = distributions.find(({ figure }) => figure === "end-to-end");
    const sum = timeline.bins.reduce(
      (all, { requests, phases }) => all + requests * phases.reduce((a, b) => a + b, 0),
      0,
    );
    expect(sum).toBeCloseTo((endToEnd?.mean ?? 0) * (endToEnd?.count ?? 0), 3);
  });

  it("report knows the clocks of instances from vLLM's spans, the same from logs, a file and Jaeger", async () => {
    const name = "proxy-vllm/grpc";
    const logs = place.logs(name);
    const otlp = [place.recording(name)];
    const fromLogs = await report(options(logs, {}, otlp), NO_PROGRESS);
    expect(fromLogs.clocks.instances.length).toBeGreaterThan(1);
    for (const { offsetMs = Number.NaN, uncertaintyMs = Number.NaN, certain } of fromLogs.clocks.instances) {
      // One machine, one clock.
      expect(certain).toBe(false);
      expect(Math.abs(offsetMs)).toBeLessThanOrEqual(uncertaintyMs);
    }
    expect(fromLogs.clocks.proxyUncertaintyMs).toBeLessThan(1);
    const { traces } = await convertToJaeger(logs, place.at("trace.json"), { otlp });
    const api = await new JaegerApi(traces).start();
    try {
      const fromFile = await report(options(place.at("trace.json")), NO_PROGRESS);
      const fromJaeger = await report(options(api.url), NO_PROGRESS);
      // A Jaeger file keeps microseconds of vLLM's nanoseconds.
      for (const other of [fromFile, fromJaeger]) {
        const { requests } = other.statistics;
        expect(requests).toMatchObject({
          seen: fromLogs.statistics.requests.seen,
          complete: fromLogs.statistics.requests.complete,
        });
        expect(other.failures).toEqual(fromLogs.failures);
        expect(other.clocks.instances.map(({ instance, spans }) => [instance, spans]).sort()).toEqual(
          fromLogs.clocks.instances.map(({ instance, spans }) => [instance, spans]).sort(),
        );
      }
    } finally {
      await api.stop();
    }
  });

  it("report escapes ids, names, addresses and messages, whoever wrote them", async () => {
    const { traces } = await convertToJaeger(place.logs("proxy-mock/seq-failures"), place.at("trace.json"));
    const evil = traces.map(
      (trace): JaegerTrace => ({
        ...trace,
        spans: trace.spans.map((span) => ({
          ...span,
          operationName: span.operationName === "P waiting" ? HOSTILE : span.operationName,
          tags: (span.tags ?? []).map((tag) =>
            typeof tag.value === "string" && tag.key !== "span.kind" ? { ...tag, value: HOSTILE } : tag,
          ),
        })),
        processes: Object.fromEntries(
          Object.entries(trace.processes).map(([id, process]) => [
            id,
            { ...process, serviceName: process.serviceName === "omni-proxy" ? HOSTILE : process.serviceName },
          ]),
        ),
      }),
    );
    const source = place.write("evil.json", JSON.stringify({ data: evil }));
    await report(options(source, { title: HOSTILE, jaeger: "https://jaeger.example/ui/" }), NO_PROGRESS);
    const page = place.read("report.html");
    expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;&lt;img src=x");
    expect(page).not.toMatch(/<script|<img|onerror=alert\(2\)>&lt;[^\\]/);
    expect(page).not.toMatch(/[\u202e\u0007]/);
    expect(page).toMatch(/<a href="https:\/\/jaeger\.example\/ui\/trace\/[0-9a-f]{32}" rel="noreferrer">/);
    // Every tag is one that the page itself writes.
    const tags = new Set([...page.matchAll(/<([a-z][a-z0-9]*)/gi)].map(([, tag]) => tag));
    for (const tag of ["iframe", "object", "embed", "base", "form", "script", "img"]) expect(tags).not.toContain(tag);
  });

  it("report's page forbids scripts and requests, and its style sheet is the one that the policy names", async () => {
    await report(options(place.logs("proxy-mock/smoke")), NO_PROGRESS);
    const page = place.read("report.html");
    const policy = /<meta http-equiv="Content-Security-Policy" content="([^"]+)">/.exec(page)?.[1] ?? "";
    const style = /<style>([\s\S]*?)<\/style>/.exec(page)?.[1] ?? "";
    expect(style).toBe(STYLE);
    expect(policy.replaceAll("&#39;", "'")).toBe(
      `default-src 'none'; style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'; img-src data:; base-uri 'none'; form-action 'none'`,
    );
    expect(page).not.toMatch(/ style="|\bon[a-z]+="|url\(|@import/);
  });

  it("report's page refers only to sections that it has, and every chart has its numbers in a table", async () => {
    await report(options(place.logs("proxy-mock/seq-basic")), NO_PROGRESS);
    const page = place.read("report.html");
    const ids = new Set([...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    const links = [...page.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id);
    expect(links.length).toBeGreaterThan(7);
    for (const id of links) expect(ids).toContain(id);
    const figures = page.split('<figure class="card">').slice(1);
    for (const figure of figures) expect(figure).toMatch(/<svg class="chart" role="img" aria-label="[^"]+"/);
    expect(page.match(/as a table<\/summary>/g)?.length).toBe(figures.length - 1); // both charts over time share one
  });

  it("report's page stays the same size however many requests there are", async () => {
    const sizes: number[] = [];
    for (const requests of [200, 1200]) {
      const source = place.write(`many-${requests}.json`, JSON.stringify({ data: await many(requests) }));
      const out = place.at(`many-${requests}.html`);
      const data = await report(options(source, { out }), NO_PROGRESS);
      expect(data.statistics.requests.seen).toBe(requests);
      sizes.push(place.read(`many-${requests}.html`).length);
    }
    const [few = 0, most = 0] = sizes;
    expect(most / few).toBeLessThan(1.25);
  });

  /** The first trace of a capture, again and again, a second apart. */
  async function many(requests: number): Promise<JaegerTrace[]> {
    const { traces } = await convertToJaeger(place.logs("proxy-mock/smoke"), place.at("one.json"), { skip: 0 });
    const model = traces.find(({ spans }) =>
      spans.some(({ operationName }) => operationName === "Trace for Omni Proxy"),
    );
    return Array.from({ length: requests }, (_, n) => {
      const traceID = (n + 1).toString(16).padStart(32, "0");
      return {
        ...(model as JaegerTrace),
        traceID,
        spans: (model?.spans ?? []).map((span) => ({
          ...span,
          traceID,
          startTime: span.startTime + n * 1e6,
          references: (span.references ?? []).map((reference) => ({ ...reference, traceID })),
        })),
      };
    });
  }

  it("report leaves out requests outside --since and --until", async () => {
    const logs = place.logs("proxy-mock/seq-failures");
    const all = await report(options(logs), NO_PROGRESS);
    const middle = ((all.period?.fromMs ?? 0) + (all.period?.toMs ?? 0)) / 2;
    const before = await report(options(logs, { untilMs: middle }), NO_PROGRESS);
    const after = await report(options(logs, { sinceMs: middle }), NO_PROGRESS);
    expect(before.statistics.requests.seen + after.statistics.requests.seen).toBe(all.statistics.requests.seen);
    expect(before.period?.toMs).toBeLessThan(middle);
    expect(after.period?.fromMs).toBeGreaterThanOrEqual(middle);
  });

  it("report ends with 2 and leaves no file when there is no request", async () => {
    const logs = place.logs("proxy-mock/smoke");
    const error = await report(options(logs, { untilMs: 1 }), NO_PROGRESS).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(Problem);
    expect(error).toMatchObject({ exitCode: EXIT.nothing });
    expect(existsSync(place.at("report.html"))).toBe(false);
  });

  it("report leaves no half-written file when the page cannot be written", async () => {
    const logs = place.logs("proxy-mock/smoke");
    place.write("taken/file", "");
    const error = await report(options(logs, { out: place.at("taken") }), NO_PROGRESS).catch((error: unknown) => error);
    expect(error).toMatchObject({
      exitCode: EXIT.failed,
      message: expect.stringContaining("cannot be written") as string,
    });
    expect(readdirSync(place.path).filter((name) => name.endsWith(".part"))).toEqual([]);
  });
});
