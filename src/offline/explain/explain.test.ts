import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readCapture } from "../../../test/kit/captures.ts";
import { JaegerApi } from "../../../test/kit/jaeger-api.ts";
import { captureFolder, convertToJaeger, Workplace } from "../../../test/kit/offline.ts";
import { EXIT, Problem } from "../problem.ts";
import { NO_PROGRESS } from "../reading.ts";
import type { SourceOptions } from "../source.ts";
import { type ExplainReport, explain } from "./explain.ts";
import { describeExplanation } from "./text.ts";

const STYLE = { width: 110, colour: false, ascii: false, cut: false };

function options(otlp: readonly string[] = []): SourceOptions {
  return {
    otlp,
    timezone: "auto",
    service: "omni-proxy",
    fromMs: Date.parse("2026-11-22T04:00:00Z"),
    toMs: Date.parse("2026-11-22T06:00:00Z"),
    limit: 1000,
    headers: {},
    merge: {},
  };
}

describe("explain", () => {
  let place: Workplace;
  beforeEach(() => {
    place = new Workplace();
  });
  afterEach(() => place.remove());

  function ask(id: string, source: string, otlp: readonly string[] = []): Promise<ExplainReport> {
    return explain(id, source, options(otlp), NO_PROGRESS);
  }

  // Kept in test/fixtures/offline/explain; `npx vitest run -u` writes them anew, to be read before they are committed.
  it.each([
    ["ok-list-of-two-n-2", "proxy-vllm/grpc", "d6f0bb45-0865-4f05-86e0-b1ddcb3049c0"],
    ["ok-long-id-used-twice", "proxy-vllm/grpc", `long-0123456789${"0123456789".repeat(4)}01234`],
    ["ok-unsampled", "proxy-vllm/grpc", "cd61ad97-875f-41b5-973a-c4355d672378"],
    ["client-disconnected", "proxy-vllm/grpc", "3da2bf8a-b1b4-4411-99ca-dbc0a8d17c05"],
    ["rejected", "proxy-mock/seq-failures", "2106dfb6-f410-4b14-961a-296e33ab674d"],
    ["prefill-failed", "proxy-mock/seq-failures", "fcff133e-e023-4740-b86a-2e34f2b02275"],
    ["timeout", "proxy-mock/seq-failures", "a335e757-32b4-468c-b165-6d5715cd67eb"],
    ["decode-failed", "proxy-mock/seq-failures", "babdd1fc-eb62-42b6-a27b-3e8165614983"],
    ["incomplete", "proxy-mock/seq-tokenizer-broken", undefined],
    ["only-the-access-log", "proxy-mock/seq-loglevel-notice", undefined],
  ])("explain tells the whole story of a request that is %s", async (name, capture, id) => {
    const { payloads, requestIds } = readCapture(capture);
    const otlp = payloads.length > 0 ? [place.recording(capture)] : [];
    const wanted = id ?? ([...requestIds.values()][0] as string);
    const report = await ask(wanted, place.logs(capture), otlp);
    await expect(describeExplanation(report, STYLE)).toMatchFileSnapshot(
      new URL(`../../../test/fixtures/offline/explain/${name}.txt`, import.meta.url).pathname,
    );
  });

  it("explain shows omnilogger's lines and spans", async () => {
    const report = await ask("ae3a2b7f-dfe0-4893-b3ae-d0b6c7ac1491", captureFolder("log-to-jaeger"));
    await expect(describeExplanation(report, STYLE)).toMatchFileSnapshot(
      new URL("../../../test/fixtures/offline/explain/ok-with-omnilogger.txt", import.meta.url).pathname,
    );
    expect(report.requests[0]?.lines).toHaveLength(37);
  });

  it("explain finds a request by its id with vLLM's prefix and by its trace id", async () => {
    const logs = place.logs("proxy-mock/aggregation");
    const [id] = [...readCapture("proxy-mock/aggregation").requestIds.values()] as [string];
    const wanted = await ask(id, logs);
    expect(wanted.requests).toHaveLength(1);
    for (const other of [`chatcmpl-${id}`, wanted.requests[0]?.traceId ?? ""])
      expect(await ask(other, logs)).toEqual(wanted);
  });

  it("explain has only lines of the request", async () => {
    const capture = readCapture("proxy-mock/seq-basic");
    const logs = place.logs("proxy-mock/seq-basic");
    for (const id of [...capture.requestIds.values()].slice(0, 30)) {
      const { requests } = await ask(id, logs);
      for (const { lines } of requests) {
        const numbers = new Set(lines.flatMap(({ text }) => /#\d+: \*(\d+) /.exec(text)?.[1] ?? []));
        expect(numbers.size, id).toBe(1);
        for (const { text } of lines) {
          const told = /RequestID:(.*?)(?: while |, client: |$)/s.exec(text)?.[1];
          if (told !== undefined && told !== "") expect(id.startsWith(told), text).toBe(true);
        }
        // Received, tokenization, three states and the end at the least; and the access log's row.
        expect(lines.length, id).toBeGreaterThan(20);
        expect(lines.filter(({ log }) => log === "nginx_access.log").length, id).toBe(1);
      }
    }
  });

  it("explain works on a recording and on Jaeger, without lines", async () => {
    const name = "proxy-vllm/grpc";
    const id = "3da2bf8a-b1b4-4411-99ca-dbc0a8d17c05";
    const { traces } = await convertToJaeger(place.logs(name), place.at("trace.json"), {
      otlp: [place.recording(name)],
    });
    const file = await ask(id, place.at("trace.json"));
    const text = describeExplanation(file, STYLE);
    expect(text).toContain("none: this source has spans only");
    expect(text).toContain("vLLM's span of decode");
    expect(text).toMatch(/joined as prefill; moved here from trace [0-9a-f]{32}/);
    const api = await new JaegerApi(traces).start();
    try {
      const jaeger = await ask(id, api.url);
      expect({ ...jaeger, source: "recording" }).toEqual(file);
      // Not among what was looked through: asked for by its trace id.
      const old = await explain(id, api.url, { ...options(), limit: 3 }, NO_PROGRESS);
      expect(old.requests.map(({ id }) => id)).toEqual([id]);
    } finally {
      await api.stop();
    }
  });

  it("explain ends with 2 when no request has the id", async () => {
    const error = await ask("nobody", place.logs("proxy-mock/smoke")).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(Problem);
    expect(error).toMatchObject({
      exitCode: EXIT.nothing,
      message: expect.stringContaining("no request is called nobody") as string,
    });
  });
});
