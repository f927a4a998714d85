import { describe, expect, it } from "vitest";
import { readCapture } from "../../../test/kit/captures.ts";
import { requestLines, vllmSpan, WALL } from "../../../test/kit/made-up.ts";
import { attribute, linesOf, MergeRun, type OutSpan } from "../../../test/kit/merge-run.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { encodeTraces } from "../../pdata/encode.ts";
import { decodeConfig } from "./config.ts";

const ROOT = "Trace for Omni Proxy";
const UUID = "64c201b8-f627-4fa3-940a-a2862a68a07a";

function roots(spans: readonly OutSpan[]): OutSpan[] {
  return spans.filter(({ name }) => name === ROOT);
}

describe("request_merge", () => {
  it("makes one trace of a request and its two vLLM spans, and says what it knows on the root", async () => {
    const run = await new MergeRun().start();
    await run.lines(requestLines({ id: UUID, connection: 1, at: 100 }));
    await run.spans(
      encodeTraces([
        vllmSpan({ id: `cmpl-${UUID}-0`, role: "decode", at: 100 }),
        vllmSpan({ id: `cmpl-${UUID}-0`, role: "prefill", at: 100 }),
      ]),
    );
    expect(roots(run.output())).toEqual([]);
    await run.clock.advance(1000);
    const spans = run.output();
    expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([UUID.replaceAll("-", "")]));
    const [root] = roots(spans) as [OutSpan];
    const named = (name: string): OutSpan => spans.find((span) => span.name === name) as OutSpan;
    for (const role of ["prefill", "decode"] as const) {
      const llm = spans.find((span) => span.service === `vllm-${role}`) as OutSpan;
      expect(llm.parentSpanId).toBe(named(role === "prefill" ? "P running" : "D running").spanId);
      expect(attribute(llm, "omni.role")).toBe(role);
      expect(attribute(llm, "omni.original_trace_id")).toMatch(/^a+/);
    }
    expect(
      Object.fromEntries(
        root.attributes.map(({ key, value }) => [key, typeof value === "number" ? Number(value.toFixed(6)) : value]),
      ),
    ).toEqual({
      request_id: UUID,
      "omni.pd_policy": "sequential",
      "omni.outcome": "ok",
      "http.request.method": "POST",
      "url.path": "/v1/completions",
      "client.address": "127.0.0.1",
      "gen_ai.operation.name": "text_completion",
      "gen_ai.usage.prompt_tokens": 17n,
      "gen_ai.usage.completion_tokens": 6n,
      "omni.ttft_seconds": 0.09999,
      "omni.tpot_seconds": 0.02,
      "omni.prefill_seconds": 0.048,
      "omni.decode_seconds": 0.147,
      "omni.queue_seconds": 0.0039,
      "omni.clock.uncertainty_ms": 0.4,
    });
    expect([root.kind, named("P running").kind, named("TTFT").kind, root.flags]).toEqual([2, 3, 1, 0x100]);
  });

  it("keeps two requests of one client trace apart in that trace", async () => {
    const run = await new MergeRun().start();
    const traceparent = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`;
    await run.lines([
      ...requestLines({ id: "same", connection: 1, at: 100, traceparent, proxyId: false }),
      ...requestLines({ id: "same", connection: 2, at: 101, traceparent, proxyId: false }),
      ...requestLines({ id: UUID, connection: 3, at: 102 }),
    ]);
    await run.clock.advance(20_000);
    const spans = run.output().filter(({ traceId }) => traceId === "1".repeat(32));
    expect(roots(spans).map(({ parentSpanId }) => parentSpanId)).toEqual(["2".repeat(16), "2".repeat(16)]);
    expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(spans.length);
    expect(spans).toHaveLength(2 * 13);
  });

  it("gives the root an injected traceparent's span id, because nobody else emits it", async () => {
    const run = await new MergeRun().start();
    await run.lines(
      requestLines({
        id: UUID,
        connection: 1,
        at: 100,
        traceparent: `00-${"3".repeat(32)}-${"4".repeat(16)}-01`,
        injected: true,
      }),
    );
    await run.clock.advance(20_000);
    expect(roots(run.output())).toMatchObject([{ traceId: "3".repeat(32), spanId: "4".repeat(16), parentSpanId: "" }]);
  });

  it("does not mix `job` with two prompts and `job-1` when both are alive", async () => {
    const run = await new MergeRun().start();
    const job = requestLines({ id: "job", connection: 1, at: 100, end: false });
    const job1 = requestLines({ id: "job-1", connection: 2, at: 100.0001, end: false });
    const [startJob, startJob1] = [job.splice(0, 4), job1.splice(0, 4)];
    await run.lines([...startJob, ...startJob1, ...job, ...job1]);
    const ack = run.spans(
      encodeTraces([
        vllmSpan({ id: "cmpl-job-0", role: "decode", at: 100 }),
        vllmSpan({ id: "cmpl-job-1", role: "decode", at: 100 }),
        vllmSpan({ id: "cmpl-job-1-0", role: "decode", at: 100 }),
      ]),
    );
    await run.clock.advance(600);
    await ack;
    await run.stop();
    const traces = new Map(roots(run.output()).map((root) => [attribute(root, "request_id"), root.traceId]));
    const llm = run
      .output()
      .filter(({ name }) => name === "llm_request")
      .map((span) => [attribute(span, "gen_ai.request.id"), span.traceId]);
    expect(llm).toEqual([
      ["cmpl-job-0", traces.get("job")],
      ["cmpl-job-1", traces.get("job")],
      ["cmpl-job-1-0", traces.get("job-1")],
    ]);
  });

  it("tells prefill from decode under policy parallel, where both run at once, by what the client asked for", async () => {
    const parallel = (id: string, connection: number, maxTokens: number): Buffer[] => {
      const lines = requestLines({ id, connection, at: 100 }).map((line) => line.toString("latin1"));
      const at = (name: string): number => lines.findIndex((line) => line.includes(`Action: ${name};`));
      // D running begins right behind P running, and prefill finishes after the first token.
      const [finish] = lines.splice(at("Finish P running"), 1) as [string];
      for (const name of ["Enter state D waiting", "Enter state D running"])
        lines[at(name)] = (lines[at(name)] as string).replace("100.05", "100.003");
      lines.splice(at("Proxy got first token") + 1, 0, finish);
      lines.splice(
        3,
        0,
        (lines[0] as string).replace(/<<<.*?, client/, `prefill: req->metrics.max_tokens = ${maxTokens}, client`),
      );
      return lines.map((line) => Buffer.from(line, "latin1"));
    };
    for (const [maxTokens, role] of [
      [6, "prefill"],
      [1, undefined],
    ] as const) {
      const run = await new MergeRun().start();
      await run.lines(parallel(UUID, 1, maxTokens));
      await run.spans(encodeTraces([vllmSpan({ id: `cmpl-${UUID}-0`, role: "prefill", at: 100 })]));
      expect(attribute(run.output()[0] as OutSpan, "omni.role")).toBe(role);
      await run.stop();
    }
  });

  it("gives a UUID that is used again a trace of its own", async () => {
    const run = await new MergeRun().start();
    for (const connection of [1, 2]) await run.lines(requestLines({ id: UUID, connection, at: 100 + connection }));
    await run.clock.advance(20_000);
    await run.lines(requestLines({ id: UUID.toUpperCase(), connection: 3, at: 200 }));
    await run.stop();
    const ids = roots(run.output()).map(({ traceId }) => traceId);
    expect(ids).toContain(UUID.replaceAll("-", ""));
    expect(new Set(ids).size).toBe(3);
  });

  it("makes no second root when the same log is read again", async () => {
    const run = await new MergeRun().start();
    const lines = linesOf(readCapture("proxy-mock/smoke").errorLog);
    await run.lines(lines);
    await run.clock.advance(20_000);
    const first = run.output().length;
    await run.lines(lines);
    await run.clock.advance(20_000);
    await run.stop();
    expect(run.output()).toHaveLength(first);
    expect(roots(run.output())).toHaveLength(4);
  });

  it("holds a batch and its acknowledgement until the lines of its request are read", async () => {
    const run = await new MergeRun().start();
    let acked = false;
    const ack = run.spans(encodeTraces([vllmSpan({ id: `cmpl-${UUID}-0`, role: "decode", at: 100 })])).then(() => {
      acked = true;
    });
    await run.clock.advance(499);
    expect([acked, run.sink.items]).toEqual([false, 0]);
    await run.lines(requestLines({ id: UUID, connection: 1, at: 100 }));
    await ack;
    expect(run.sink.items).toBe(1);
  });

  it("lets a batch go after span_wait, in the trace that its request will take over", async () => {
    const run = await new MergeRun().start();
    const ack = run.spans(encodeTraces([vllmSpan({ id: "cmpl-job-0", role: "decode", at: 100 })]));
    await run.clock.advance(500);
    await ack;
    expect(await run.metric("omnishim_unmerged_spans")).toBe(1);
    await run.lines(requestLines({ id: "job", connection: 1, at: 100 }));
    await run.clock.advance(20_000);
    const [span] = run.output().filter(({ name }) => name === "llm_request");
    expect(roots(run.output())).toMatchObject([{ traceId: span?.traceId }]);
  });

  it("keeps a request's span ids when a span had to leave between its first line and `Time received`", async () => {
    const idsOf = async (early: boolean): Promise<string[]> => {
      const run = await new MergeRun().start();
      const lines = requestLines({ id: UUID, connection: 1, at: 100 });
      await run.lines(lines.slice(0, 1));
      if (early) {
        const ack = run.spans(encodeTraces([vllmSpan({ id: `cmpl-${UUID}-0`, role: "decode", at: 100 })]));
        await run.clock.advance(500);
        await ack;
      }
      await run.lines(lines.slice(1));
      await run.clock.advance(20_000);
      const ids = run.output().filter(({ service }) => service === "omni-proxy");
      await run.stop();
      return ids.map(({ name, spanId }) => `${name} ${spanId}`).sort();
    };
    expect(await idsOf(true)).toEqual(await idsOf(false));
  });

  it.each([
    ["no logs pipeline feeds it", ["traces"], 0],
    ["no line has come for a minute", ["logs", "traces"], 61_000],
  ] as const)("does not hold spans when %s, and joins prefill and decode alone", async (_, fedBy, quietMs) => {
    const run = await new MergeRun({}, fedBy).start();
    await run.clock.advance(quietMs);
    for (const role of ["prefill", "decode"] as const)
      await run.spans(encodeTraces([vllmSpan({ id: "chatcmpl-job", role, at: 100 })]));
    expect(new Set(run.output().map(({ traceId }) => traceId)).size).toBe(1);
  });

  it("passes bytes on as they came when nothing in them names a request", async () => {
    const run = await new MergeRun().start();
    const other = encodeTraces([
      vllmSpan({
        id: "",
        role: "decode",
        at: 100,
        name: "Load model",
        attributes: [{ key: "code.function", value: "load" }],
      }),
    ]);
    const withUnknown = Buffer.concat([other, Buffer.from([0xfa, 0x3e, 0x03, 1, 2, 3])]);
    await run.spans(withUnknown);
    expect(run.sink.batches[0]?.bytes).toEqual(withUnknown);
  });

  it("moves spans without a request id along with the llm_request whose trace they share", async () => {
    const run = await new MergeRun().start();
    await run.lines(requestLines({ id: UUID, connection: 1, at: 100 }));
    const traceId = "c".repeat(32);
    const child = vllmSpan({
      id: "",
      role: "decode",
      at: 100,
      traceId,
      parentSpanId: "d".repeat(16),
      name: "vllm.request.decode",
      attributes: [],
    });
    await run.spans(encodeTraces([child, vllmSpan({ id: `cmpl-${UUID}-0`, role: "decode", at: 100, traceId })]));
    const moved = run.output().find(({ name }) => name === "vllm.request.decode") as OutSpan;
    expect([moved.traceId, moved.parentSpanId, attribute(moved, "omni.original_trace_id")]).toEqual([
      UUID.replaceAll("-", ""),
      "d".repeat(16),
      traceId,
    ]);
  });

  it("counts an llm_request without attributes as no_request_id and leaves it alone", async () => {
    const run = await new MergeRun().start();
    const bytes = encodeTraces([vllmSpan({ id: "", role: "prefill", at: 100, attributes: [] })]);
    await run.spans(bytes);
    expect(run.sink.batches[0]?.bytes).toEqual(bytes);
    expect((await run.settings.metrics.text()).includes('omnishim_unmerged_spans{cause="no_request_id"} 1')).toBe(true);
  });

  it("releases a request without an end after request_timeout and sends only the rest when its end comes late", async () => {
    const run = await new MergeRun({ request_timeout: "1m" }).start();
    const lines = requestLines({ id: UUID, connection: 1, at: 100 });
    await run.lines(lines.slice(0, -1));
    await run.clock.advance(61_000);
    const early = run.output();
    expect(
      roots(early).map((root) => [
        attribute(root, "omni.outcome"),
        attribute(root, "omni.incomplete"),
        attribute(root, "omni.missing_actions"),
      ]),
    ).toEqual([["incomplete", true, ["Received all tokens"]]]);
    await run.lines(lines.slice(-1));
    await run.clock.advance(1_000);
    const late = run.output().slice(early.length);
    expect(late.map(({ name }) => name)).toEqual(["Received all tokens"]);
    expect(await run.metric("omnishim_late")).toBe(1);
  });

  it("puts a late span under the right state when its request was sent long ago", async () => {
    const run = await new MergeRun().start();
    await run.lines(requestLines({ id: UUID, connection: 1, at: 100 }));
    await run.clock.advance(30_000);
    const before = run.output();
    await run.spans(encodeTraces([vllmSpan({ id: `cmpl-${UUID}-0`, role: "decode", at: 100 })]));
    const late = run.output().at(-1) as OutSpan;
    expect(late.parentSpanId).toBe(before.find(({ name }) => name === "D running")?.spanId);
    expect(late.traceId).toBe(before[0]?.traceId);
  });

  it("lets ended requests go first, then the oldest, when the table is full", async () => {
    const run = await new MergeRun({ max_requests: 2 }).start();
    const open = (id: string, connection: number): Buffer[] =>
      requestLines({ id, connection, at: 100 + connection, end: false });
    await run.lines([
      ...open("open-1", 1),
      ...requestLines({ id: "ended", connection: 2, at: 102 }),
      ...open("open-3", 3),
    ]);
    await run.clock.advance(10);
    expect(roots(run.output()).map((root) => attribute(root, "request_id"))).toEqual(["ended"]);
    await run.lines(open("open-4", 4));
    await run.clock.advance(10);
    expect(roots(run.output()).map((root) => attribute(root, "request_id"))).toEqual(["ended", "open-1"]);
    expect(await run.metric("omnishim_early_releases")).toBe(2);
  });

  it("hands traces on again until the next stage takes them, and takes no more lines when the table is full meanwhile", async () => {
    const run = await new MergeRun({ max_requests: 1 }).start();
    run.sink.fault = () => {
      throw new ConsumeError("retryable", "sending queue is full");
    };
    await run.lines(requestLines({ id: "one", connection: 1, at: 100 }));
    await run.clock.advance(11_000);
    await run.lines(requestLines({ id: "two", connection: 2, at: 101 }));
    await expect(run.lines(requestLines({ id: "three", connection: 3, at: 102 }))).rejects.toMatchObject({
      disposition: "retryable",
    });
    run.sink.fault = undefined;
    await run.clock.advance(30_000);
    await run.lines(requestLines({ id: "three", connection: 3, at: 102 }));
    await run.stop();
    expect(
      roots(run.output())
        .map((root) => attribute(root, "request_id"))
        .sort(),
    ).toEqual(["one", "three", "two"]);
  });

  it("releases everything on shutdown, open requests included", async () => {
    const run = await new MergeRun().start();
    await run.lines(requestLines({ id: "open", connection: 1, at: 100, end: false }));
    const ack = run.spans(encodeTraces([vllmSpan({ id: "chatcmpl-unknown", role: "decode", at: 100 })]));
    await run.stop();
    await ack;
    expect(roots(run.output())).toHaveLength(1);
    expect(run.output().filter(({ name }) => name === "llm_request")).toHaveLength(1);
  });

  it("drops requests that the client did not sample when told so", async () => {
    const run = await new MergeRun({ unsampled: "drop" }).start();
    await run.lines(
      requestLines({ id: UUID, connection: 1, at: 100, traceparent: `00-${"5".repeat(32)}-${"6".repeat(16)}-00` }),
    );
    await run.stop();
    expect(run.output()).toEqual([]);
    expect(await run.metric("omnishim_unsampled_requests")).toBe(1);
  });

  it("joins a vLLM host whose clock is off, and corrects its spans when told so", async () => {
    const run = await new MergeRun({ clock_skew: "correct" }).start();
    for (let n = 0; n < 3; n++) {
      const id = UUID.replace(/^./, String(n));
      await run.lines(requestLines({ id, connection: n + 1, at: 100 + n }));
      const ack = run.spans(encodeTraces([vllmSpan({ id: `cmpl-${id}-0`, role: "decode", at: 105 + n })]));
      await run.clock.advance(600);
      await ack;
    }
    const llm = run.output().filter(({ name }) => name === "llm_request");
    const last = llm.at(-1) as OutSpan;
    expect(Math.abs(Number(last.startUnixNano) / 1e9 - (WALL + 102.055))).toBeLessThan(0.01);
    expect(attribute(last, "omni.clock.original_start_time_unix_nano")).toBe(
      String(BigInt(Math.round((WALL + 107.055) * 1e6)) * 1000n),
    );
    await run.stop();
  });

  it("uses roles from the configuration before anything else", async () => {
    const run = await new MergeRun({ roles: { prefill: { "service.name": ["vllm-decode"] } } }).start();
    await run.lines(requestLines({ id: UUID, connection: 1, at: 100 }));
    await run.spans(encodeTraces([vllmSpan({ id: `cmpl-${UUID}-0`, role: "decode", at: 100 })]));
    expect(attribute(run.output()[0] as OutSpan, "omni.role")).toBe("prefill");
  });
});

describe("request_merge's configuration", () => {
  it("has the documented defaults", () => {
    expect(decodeConfig(null).effective).toEqual({
      roles: { prefill: {}, decode: {} },
      span_wait: "500ms",
      wait: "10s",
      request_timeout: "15m0s",
      max_requests: 100_000,
      remember: { time: "15m0s", count: 500_000 },
      clock_skew: "annotate",
      unsampled: "emit",
      service_name: "omni-proxy",
      max_storage_mib: 256,
    });
  });

  it("says what is wrong, all at once", () => {
    try {
      decodeConfig({ wait: "soon", roles: { prefil: {} }, clock_skew: "corect", max_requests: 0 });
    } catch (error) {
      expect((error as { issues: { path: string[] }[] }).issues.map(({ path }) => path.join("::")).sort()).toEqual([
        "clock_skew",
        "max_requests",
        "roles::prefil",
        "wait",
      ]);
    }
  });
});
