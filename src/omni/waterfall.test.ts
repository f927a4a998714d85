import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AttributeValue, ResourceSpans, SpanData } from "../pdata/model.ts";
import { displayWidth } from "./text.ts";
import { renderTraces } from "./waterfall.ts";

const TRACE = "243666c1cc9c48bf84a2f3ce79f0a677";
const START = 1_795_322_094_857_516_288n;

function at(ms: number): bigint {
  return START + BigInt(Math.round(ms * 1e6));
}

function span(spanId: string, name: string, fromMs: number, toMs: number, over: Partial<SpanData> = {}): SpanData {
  return {
    traceId: TRACE,
    spanId,
    parentSpanId: "",
    traceState: "",
    flags: 0,
    name,
    kind: 1,
    startUnixNano: at(fromMs),
    endUnixNano: at(toMs),
    attributes: [],
    droppedAttributesCount: 0,
    events: [],
    droppedEventsCount: 0,
    links: [],
    droppedLinksCount: 0,
    status: { code: 0, message: "" },
    ...over,
  };
}

function attributes(values: Readonly<Record<string, AttributeValue>>): { key: string; value: AttributeValue }[] {
  return Object.entries(values).map(([key, value]) => ({ key, value }));
}

function from(service: string, spans: readonly SpanData[]): ResourceSpans {
  const scope = { name: "", version: "", attributes: [], droppedAttributesCount: 0 };
  return {
    resource: { attributes: attributes(service === "" ? {} : { "service.name": service }), droppedAttributesCount: 0 },
    scopeSpans: [{ scope, spans: [...spans], schemaUrl: "" }],
    schemaUrl: "",
  };
}

const root = span("01", "Trace for Omni Proxy", 0, 53.9, {
  attributes: attributes({
    request_id: "243666c1-cc9c-48bf-84a2-f3ce79f0a677",
    "omni.outcome": "ok",
    "omni.pd_policy": "sequential",
    "http.request.method": "POST",
    "url.path": "/v1/completions",
    "http.response.status_code": 200n,
    "omni.ttft_seconds": 0.0398,
    "omni.tpot_seconds": 0.0028,
    "gen_ai.usage.prompt_tokens": 6n,
    "gen_ai.usage.completion_tokens": 5n,
    "omni.missing_actions": ["Start to schedule", "Enter state APC matching"],
  }),
});
const under = (parentSpanId: string, over: Partial<SpanData> = {}): Partial<SpanData> => ({ parentSpanId, ...over });
const states = [
  span("02", "P waiting", 0, 1.2, under("01")),
  span("03", "P running", 1.2, 17.2, under("01")),
  span("04", "D running", 17.9, 53.9, under("01")),
  span("05", "TTFT", 0, 39.8, under("01")),
];
const id = { attributes: attributes({ "gen_ai.request.id": "cmpl-243666c1-cc9c-48bf-84a2-f3ce79f0a677-0" }) };
const prefill = from("vllm-prefill", [span("06", "llm_request", 3, 15.2, under("03", id))]);
const decode = from("vllm-decode", [span("07", "llm_request", 20, 51, under("04", id))]);

describe("renderTraces", () => {
  it("renderTraces draws root, states and vLLM's spans under P and D running when a request is complete", () => {
    // Children come before their parents, and in other resources: order and origin do not matter.
    expect(renderTraces([decode, prefill, from("omni-proxy", [...states, root])], { width: 80 })).toBe(
      `243666c1-cc9c-48bf-84a2-f3ce79f0a677 · ok · POST /v1/completions · HTTP 200 · s…
  TTFT 39.8 ms · TPOT 2.8 ms · end-to-end 53.9 ms · 6 tokens in, 5 out
  trace 243666c1cc9c48bf84a2f3ce79f0a677
  Trace for Omni Proxy · omni-proxy       0 s   53.9 ms ████████████████████████
  ├─ P waiting                            0 s    1.2 ms █
  ├─ P running                         1.2 ms     16 ms  ███████
  │  └─ llm_request · vllm-prefill       3 ms   12.2 ms  ██████
  ├─ D running                        17.9 ms     36 ms         ████████████████
  │  └─ llm_request · vllm-decode       20 ms     31 ms          ██████████████
  └─ TTFT                                 0 s   39.8 ms ██████████████████
  missing: Start to schedule, Enter state APC matching
`,
    );
  });

  it("renderTraces gives the same block when the spans come in any order", () => {
    const parts = [decode, prefill, ...[...states, root].map((part) => from("omni-proxy", [part]))];
    const expected = renderTraces(parts);
    fc.assert(
      fc.property(fc.shuffledSubarray(parts, { minLength: parts.length }), (shuffled) => {
        expect(renderTraces(shuffled)).toBe(expected);
      }),
    );
  });

  it("renderTraces says under which state vLLM's span is missing when it did not come", () => {
    expect(renderTraces([from("omni-proxy", [root, ...states]), prefill])).toContain(
      "no llm_request: under D running\n",
    );
    expect(renderTraces([from("omni-proxy", [root, ...states]), prefill, decode])).not.toContain("no llm_request");
  });

  it("renderTraces names the failure and an unseen end when the root has them", () => {
    const failed = span("01", "Trace for Omni Proxy", 0, 5, {
      attributes: attributes({ request_id: "a", "omni.outcome": "prefill_failed", "omni.incomplete": true }),
      status: { code: 2, message: "[Prefill-16] subrequest failed with code 502" },
    });
    const text = renderTraces([from("omni-proxy", [failed])]);
    expect(text).toContain("a · prefill_failed\n");
    expect(text).toContain("  incomplete: the end of this request was not seen\n");
    expect(text).toContain("  error: [Prefill-16] subrequest failed with code 502\n");
  });

  it("renderTraces puts spans under no request in a block of their own when a trace has both", () => {
    const stray = from("client", [span("08", "GET /stray", 1, 2, under("09")), span("0a", "below", 1, 2, under("08"))]);
    const blocks = renderTraces([from("omni-proxy", [root]), stray]).split("\n\n");
    expect(blocks).toHaveLength(2);
    expect(blocks[1]).toMatch(
      /^trace 243666c1cc9c48bf84a2f3ce79f0a677 · no request of Omni Proxy · 2 spans · client\n/,
    );
    expect(blocks[1]).toContain("  parent not here: 09\n");
  });

  it("renderTraces draws each request of a trace by itself when a client's trace holds several", () => {
    const second = span("11", "Trace for Omni Proxy", 100, 130, { attributes: attributes({ request_id: "second" }) });
    const blocks = renderTraces([from("omni-proxy", [second, root, ...states])]).split("\n\n");
    expect(blocks.map((block) => block.split(/ |\n/)[0])).toEqual(["243666c1-cc9c-48bf-84a2-f3ce79f0a677", "second"]);
  });

  it("renderTraces calls vLLM's spans unmerged when no request of the proxy holds them", () => {
    const spans = Array.from({ length: 5 }, (_, index) =>
      span(`2${index}`, "llm_request", index, 9, {
        attributes: attributes({ "gen_ai.request.id": `chatcmpl-${index}` }),
      }),
    );
    expect(renderTraces([from("vllm-decode", spans)])).toContain(
      "  unmerged: 5 spans of vLLM: chatcmpl-0, chatcmpl-1, chatcmpl-2 and 2 more\n",
    );
  });

  it("renderTraces shows a negative offset when a child starts before its parent", () => {
    const early = from("vllm-prefill", [span("06", "llm_request", -2, 1, under("03", id))]);
    const text = renderTraces([from("omni-proxy", [root, ...states]), early], { width: 80 });
    expect(text).toMatch(/llm_request · vllm-prefill +-2 ms +3 ms █/);
    expect(text).toMatch(/Trace for Omni Proxy · omni-proxy +0 s +53\.9 ms {2}█/);
  });

  it("renderTraces keeps the request's scale and points aside when a span's clock is far off", () => {
    const far = from("vllm-decode", [span("07", "llm_request", 3_600_000, 3_600_001, under("04", id))]);
    const past = from("vllm-prefill", [span("06", "llm_request", -3_600_000, -3_599_999, under("03", id))]);
    const text = renderTraces([from("omni-proxy", [root, ...states]), far, past], { width: 100 });
    expect(text).toMatch(/llm_request · vllm-decode +1 h 0 min +1 ms +▸\n/);
    expect(text).toMatch(/llm_request · vllm-prefill +-1 h 0 min +1 ms ◂\n/);
    expect(text).toMatch(/D running .*████/);
  });

  it("renderTraces writes no offset when a span has no start", () => {
    const without = span("06", "llm_request", 0, 0, under("03", { startUnixNano: 0n, endUnixNano: 0n }));
    expect(renderTraces([from("omni-proxy", [root, ...states, without])])).toMatch(/llm_request +\? +0 s/);
  });

  it("renderTraces opens a ring of parents at its earliest span when spans are each other's parents", () => {
    const ring = [
      span("31", "b", 2, 3, under("33")),
      span("32", "a", 1, 4, under("31")),
      span("33", "c", 5, 6, under("32")),
    ];
    const self = span("34", "self", 7, 8, under("34"));
    const lines = renderTraces([from("x", [...ring, self])])
      .split("\n")
      .map((line) => line.slice(2, 12).trimEnd());
    expect(lines.slice(1, 5)).toEqual(
      ["a · x", "└─ c", "   └─ b", "self · x"].map((line) => expect.stringContaining(line)),
    );
  });

  it("renderTraces shows both spans when a span id occurs twice", () => {
    const text = renderTraces([
      from("x", [span("41", "first", 0, 9), span("41", "second", 1, 2), span("42", "child", 3, 4, under("41"))]),
    ]);
    expect(text).toMatch(/first.*\n {2}└─ child.*\n {2}second/);
  });

  it("renderTraces counts what it leaves out when a trace is huge", () => {
    const children = Array.from({ length: 50_000 }, (_, index) =>
      span(`c${index}`, "step", index, index + 1, under("01")),
    );
    const text = renderTraces([from("omni-proxy", [root, ...children, ...states])], { maxRows: 20 });
    expect(text.split("\n").length).toBeLessThan(30);
    expect(text).toContain("└─ … 49999 more spans");
  });

  it("renderTraces draws as many rows as allowed when spans are nested without end", () => {
    const chain = Array.from({ length: 20_000 }, (_, index) =>
      span(`n${index}`, `step ${index}`, index, 20_000, under(`n${index - 1}`)),
    );
    const text = renderTraces([from("x", chain)], { maxRows: 30 });
    expect(text).toContain("step 29 ");
    expect(text).toContain("  … 19970 more spans\n");
  });

  it("renderTraces counts the blocks it leaves out when there are many traces", () => {
    const many = Array.from({ length: 12 }, (_, index) =>
      span("01", "x", index, index + 1, { traceId: `${index}`.padStart(32, "0") }),
    );
    const text = renderTraces([from("x", many)], { maxTraces: 10 });
    expect(text.match(/^trace /gm)).toHaveLength(10);
    expect(text).toContain("\n… 2 more blocks with 2 spans not shown\n");
  });

  it("renderTraces spells out control characters when ids, names, services and messages hold them", () => {
    const evil = "\u001b]0;owned\u0007\u001b[2J\r\n\u202e";
    const text = renderTraces([
      from(evil, [
        span("01", "Trace for Omni Proxy", 0, 1, {
          attributes: attributes({
            request_id: evil,
            "omni.outcome": evil,
            "url.path": evil,
            "omni.missing_actions": evil,
          }),
          status: { code: 2, message: evil },
        }),
        span("02", evil, 0, 1, { parentSpanId: evil, attributes: attributes({ "gen_ai.request.id": evil }) }),
      ]),
    ]);
    expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(text).toContain("\\x1b]0;owned\\x07\\x1b[2J\\x0d\\x0a\\u202e");
  });

  it("renderTraces uses ASCII only when asked", () => {
    const text = renderTraces([from("omni-proxy", [root, ...states]), prefill], { ascii: true, width: 80 });
    expect(text).toMatch(/^[\n -~]*$/);
    expect(text).toContain("  |- P running                         1.2 ms     16 ms  #######\n");
    expect(text).toContain("  |  `- llm_request | vllm-prefill ");
  });

  it("renderTraces differs only by colour codes when colour is on", () => {
    const spans = [from("omni-proxy", [root, ...states]), prefill, decode];
    const coloured = renderTraces(spans, { colour: true });
    expect(coloured).toContain("\u001b[32mok\u001b[0m");
    expect(coloured.replaceAll(/\u001b\[\d+m/g, "")).toBe(renderTraces(spans));
  });

  it("renderTraces keeps to the width when it is given anything", () => {
    const anySpan = fc.record({
      spanId: fc.constantFrom("", "01", "02", "03", "0000000000000000"),
      parentSpanId: fc.constantFrom("", "01", "02", "03", "04"),
      name: fc.oneof(
        fc.constantFrom("Trace for Omni Proxy", "P running", "TTFT"),
        fc.string({ unit: "binary", maxLength: 80 }),
      ),
      startUnixNano: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      endUnixNano: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      traceId: fc.constantFrom("", TRACE),
    });
    fc.assert(
      fc.property(
        fc.array(anySpan, { maxLength: 12 }),
        fc.integer({ min: 1, max: 200 }),
        fc.boolean(),
        (spans, width, ascii) => {
          const text = renderTraces(
            [
              from(
                "é",
                spans.map((over) => span("", "", 0, 0, over)),
              ),
            ],
            { width, ascii },
          );
          for (const line of text.split("\n")) expect(displayWidth(line)).toBeLessThanOrEqual(Math.max(60, width));
        },
      ),
    );
  });

  it("renderTraces gives nothing when there are no spans", () => {
    expect(renderTraces([])).toBe("");
    expect(renderTraces([from("x", [])])).toBe("");
  });
});
