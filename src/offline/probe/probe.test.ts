import { writeFileSync } from "node:fs";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ChatMock, type MockedAnswer, type MockSettings } from "../../../test/kit/chat-mock.ts";
import { command } from "../../../test/kit/edge.ts";
import { JaegerApi } from "../../../test/kit/jaeger-api.ts";
import { Workplace } from "../../../test/kit/offline.ts";
import { probedTraces } from "../../../test/kit/probed-trace.ts";
import { encodeTraces } from "../../pdata/encode.ts";
import { protoToJson } from "../../pdata/json.ts";
import { type JaegerTrace, resourceSpansOf } from "../jaeger/model.ts";
import type { ProbeReport } from "./probe.ts";

const QUICK: MockSettings = { firstAfterMs: 0, tokens: 3, tokenEveryMs: 0 };

/** What the shim would have made of a probe's request. */
let traceOf: (answer: MockedAnswer) => JaegerTrace;

beforeAll(async () => {
  traceOf = await probedTraces();
});

function without(trace: JaegerTrace, name: string): JaegerTrace {
  return { ...trace, spans: trace.spans.filter(({ operationName }) => operationName !== name) };
}

describe("omnishim probe", () => {
  let mock: ChatMock | undefined;
  let jaeger: JaegerApi | undefined;
  let place: Workplace;
  beforeEach(() => {
    place = new Workplace();
  });
  afterEach(async () => {
    await mock?.stop();
    await jaeger?.stop();
    mock = undefined;
    jaeger = undefined;
    place.remove();
  });

  async function start(settings: MockSettings): Promise<string> {
    mock = await new ChatMock(settings).start();
    return mock.url;
  }

  function probe(url: string, ...options: string[]) {
    return command(["probe", "--url", url, "--model", "m", "--rps", "1000", ...options]);
  }

  it("probe measures what the server measured, to 5 ms", async () => {
    const url = await start({ firstAfterMs: 30, tokens: 5, tokenEveryMs: 6 });
    const { code, stdout } = await probe(url, "--num_prompts", "9", "--rps", "25", "--json");
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as ProbeReport;
    const off = report.requests.map((request) => {
      const answer = mock?.answers.find(({ headers }) => headers["x-request-id"] === request.id) as MockedAnswer;
      expect(request.tokens).toBe(5);
      return {
        ttft: Math.abs((request.ttft as number) * 1000 - (answer.firstMs - answer.receivedMs)),
        tpot: Math.abs((request.tpot as number) * 1000 - (answer.lastMs - answer.firstMs) / 4),
        endToEnd: Math.abs((request.endToEnd as number) * 1000 - (answer.endMs - answer.receivedMs)),
      };
    });
    // A busy machine delays some requests at one end; what is measured wrongly would be so for all.
    for (const figure of ["ttft", "tpot", "endToEnd"] as const)
      expect(Math.min(...off.map((each) => each[figure])), figure).toBeLessThan(5);
  });

  it("probe sends each request with ids of its own, streaming, at the rate that was asked for", async () => {
    const url = await start(QUICK);
    const asked = ["--num-prompts", "4", "--max_tokens", "7", "--rps", "20", "--header", "Authorization=Bearer t"];
    expect((await probe(url, ...asked)).code).toBe(0);
    const answers = mock?.answers ?? [];
    expect(answers).toHaveLength(4);
    for (const [index, { headers, body, receivedMs }] of answers.entries()) {
      const id = String(headers["x-request-id"]);
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      expect(headers["traceparent"]).toMatch(new RegExp(`^00-${id.replaceAll("-", "")}-[0-9a-f]{16}-01$`));
      expect(headers.authorization).toBe("Bearer t");
      expect(body).toMatchObject({ model: "m", stream: true, max_tokens: 7 });
      // Timers are never early by more than their own millisecond.
      expect(receivedMs - (answers[0] as MockedAnswer).receivedMs).toBeGreaterThan(index * 50 - 30);
    }
    expect(new Set(answers.map(({ headers }) => headers["x-request-id"])).size).toBe(4);
  });

  it.each([["v1"], ["v3"]] as const)(
    "probe finds each request's trace in Jaeger's API %s, and prints both",
    async (api) => {
      const traces: JaegerTrace[] = [];
      jaeger = await new JaegerApi(traces, [api]).start();
      const url = await start({ ...QUICK, answered: (answer) => traces.push(traceOf(answer)) });
      const { code, stdout } = await probe(url, "--num_prompts", "2", "--traces", jaeger.url);
      expect(stdout).toMatch(/^REQUEST +TOKENS +TTFT +TRACE +TPOT +TRACE +END-TO-END +TRACE +TRACE IS$/m);
      expect(stdout).toMatch(/^[0-9a-f-]{36} +3( +\d+\.\d){6} +complete$/m);
      expect(stdout).toContain("2 of 2 requests answered; 2 of them are one complete trace each");
      expect(code).toBe(0);
    },
  );

  it("probe finds traces in what the file exporter writes", async () => {
    const path = place.write("traces.jsonl", "");
    const lines: string[] = [];
    const answered = (answer: MockedAnswer): void => {
      lines.push(protoToJson("traces", encodeTraces(resourceSpansOf({ data: [traceOf(answer)] }))));
      writeFileSync(path, `${lines.join("\n")}\n`);
    };
    const url = await start({ ...QUICK, answered });
    expect((await probe(url, "--traces", path)).stdout).toContain("5 of them are one complete trace each");
  });

  it("probe waits for traces that come late", async () => {
    const traces: JaegerTrace[] = [];
    jaeger = await new JaegerApi(traces).start();
    const url = await start(QUICK);
    const running = probe(url, "--num_prompts", "1", "--traces", jaeger.url);
    const looked = (): boolean => jaeger?.asked.some(({ path }) => path.startsWith("/api/traces/")) === true;
    while (!looked()) await new Promise((resolve) => setImmediate(resolve));
    traces.push(traceOf(mock?.answers[0] as MockedAnswer));
    expect((await running).code).toBe(0);
  });

  it.each<[string, (trace: JaegerTrace) => JaegerTrace[], RegExp]>([
    ["is not there", () => [], /trace [0-9a-f]{32} missing: no span of it is there/],
    [
      "has no span of the proxy",
      (trace) => [{ ...trace, spans: trace.spans.filter(({ operationName }) => operationName === "llm_request") }],
      /incomplete: vLLM's spans are there, the request's own are not/,
    ],
    [
      "has no span of vLLM",
      (trace) => [without(trace, "llm_request")],
      /incomplete: no span of vLLM under P running; no span of vLLM under D running/,
    ],
    [
      "is another request's",
      (trace) => [JSON.parse(JSON.stringify(trace).replaceAll('"type":"string","value":"', "$&x")) as JaegerTrace],
      /incomplete: it is request x.*: X-Request-Id did not come through; outcome xok/,
    ],
  ])("probe fails when a trace %s, and says so", async (_, change, wanted) => {
    const traces: JaegerTrace[] = [];
    jaeger = await new JaegerApi(traces).start();
    const url = await start({ ...QUICK, answered: (answer) => traces.push(...change(traceOf(answer))) });
    const { code, stdout } = await probe(url, "--num_prompts", "1", "--traces", jaeger.url, "--trace-wait", "0");
    expect(stdout).toMatch(wanted);
    expect(stdout).toContain("1 of 1 requests answered; 0 of them");
    expect(code).toBe(1);
  });

  it.each<[string, MockSettings["instead"], RegExp]>([
    ["an error", (_, response) => !!response.writeHead(500).end('{"message": "no\n decode"}'), /HTTP 500: .*no decode/],
    [
      "one object instead of a stream",
      (_, response) => !!response.writeHead(200, { "content-type": "application/json" }).end('{"choices":[]}'),
      /it does not stream: application\/json instead of text\/event-stream: \{"choices":\[\]\}/,
    ],
    [
      "an error in the stream",
      (_, response) =>
        !!response
          .writeHead(200, { "content-type": "text/event-stream" })
          .end('data: {"error":{"message":"engine is dead"}}\n\ndata: [DONE]\n\n'),
      /the answer has an error: engine is dead/,
    ],
    [
      "a stream without an end",
      (_, response) =>
        !!response
          .writeHead(200, { "content-type": "text/event-stream" })
          .end('data: {"choices":[{"delta":{"content":"a"}}]}\n\n'),
      /the answer broke off: no \[DONE\] at its end/,
    ],
    [
      "half an answer",
      (_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream", "content-length": "900" });
        response.write("data: {}\n\n", () => response.destroy());
        return true;
      },
      /the answer broke off: aborted/,
    ],
    [
      "what is no JSON",
      (_, response) => !!response.writeHead(200, { "content-type": "text/event-stream" }).end("data: <html>\n\n"),
      /an event is no JSON: <html>/,
    ],
  ])("probe fails when the server answers %s", async (_, instead, wanted) => {
    const url = await start({ ...QUICK, ...(instead ? { instead } : {}) });
    const { code, stdout } = await probe(url, "--num_prompts", "1");
    expect(stdout).toMatch(wanted);
    expect(code).toBe(1);
  });

  it("probe says that the path is wrong when there is no such page", async () => {
    const url = await start(QUICK);
    const { code, stdout } = await probe(url.replace("/v1", ""), "--num_prompts", "1");
    expect(stdout).toMatch(/HTTP 404: .* is the path of --url right, such as http:\/\/HOST:8000\/v1\?/);
    expect(code).toBe(1);
  });

  it("probe says that nobody is there when the connection is refused", async () => {
    const url = await start(QUICK);
    await mock?.stop();
    mock = undefined;
    const { code, stdout } = await probe(url, "--num_prompts", "1");
    expect(stdout).toMatch(/http:\/\/127\.0\.0\.1:\d+ cannot be reached: connect ECONNREFUSED/);
    expect(code).toBe(1);
  });

  it("probe gives a request up when the answer takes longer than the timeout", async () => {
    const url = await start({ ...QUICK, instead: () => true });
    const { code, stdout } = await probe(url, "--num_prompts", "1", "--timeout", "1");
    expect(stdout).toContain("no whole answer within 1 s (--timeout)");
    expect(code).toBe(1);
  });

  it.each([
    [["--url", "localhost:8000/v1"], /--url localhost:8000\/v1: no address of an HTTP API; give it as/],
    [["--rps", "0"], /Write a number above 0/],
    [["--num_prompts", "0"], /Write a whole number, 1 or more/],
    [["--traces", "no-such-file"], /--traces no-such-file: cannot be read/],
  ])("probe sends nothing when the command line makes no sense: %j", async (options, wanted) => {
    const url = await start(QUICK);
    const { code, stderr } = await probe(url, ...options);
    expect(stderr).toMatch(wanted);
    expect(code).toBe(1);
    expect(mock?.answers).toEqual([]);
  });

  it("probe sends nothing when no Jaeger is at --traces", async () => {
    const url = await start(QUICK);
    const { code, stderr } = await probe(url, "--traces", url);
    expect(stderr).toMatch(/neither \/api\/services nor \/api\/v3\/services is there/);
    expect(code).toBe(1);
    expect(mock?.answers).toEqual([]);
  });
});
