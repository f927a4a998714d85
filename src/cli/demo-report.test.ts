import { describe, expect, it } from "vitest";
import { decodeTraces } from "../pdata/decode.ts";
import type { ResourceSpans } from "../pdata/model.ts";
import { readCapture } from "./demo-capture.ts";
import { describeCensus, takeCensus } from "./demo-report.ts";

/** vLLM's spans as they come, under no request. */
function captured(): ResourceSpans[] {
  return readCapture().flatMap((step) => (step.kind === "spans" ? decodeTraces(step.bytes) : []));
}

describe("takeCensus", () => {
  it("takeCensus counts vLLM's spans as unmerged when no request's root is there", () => {
    const census = takeCensus(captured());
    expect(census).toEqual({ requests: 0, outcomes: [], complete: 0, gaps: [], merged: 0, unmerged: 13 });
  });

  it("takeCensus tells merged spans from unmerged ones and names what a request lacks", () => {
    const [resource] = captured();
    const [scope] = resource?.scopeSpans ?? [];
    const [first, second] = scope?.spans ?? [];
    if (!resource || !scope || !first || !second) throw new Error("the capture has no spans");
    const made = { ...first, attributes: [] };
    const root = {
      ...made,
      spanId: "01",
      name: "Trace for Omni Proxy",
      attributes: [
        { key: "request_id", value: "evil\u001b[2J" },
        { key: "omni.outcome", value: "ok" },
      ],
    };
    const prefilling = { ...made, spanId: "02", parentSpanId: "01", name: "P running" };
    const decoding = { ...made, spanId: "03", parentSpanId: "01", name: "D running" };
    const spans = [root, prefilling, decoding, { ...first, parentSpanId: "02" }, second];
    const census = takeCensus([{ ...resource, scopeSpans: [{ ...scope, spans }] }]);
    expect(census).toEqual({
      requests: 1,
      outcomes: [["ok", 1]],
      complete: 0,
      gaps: [{ id: "evil\u001b[2J", without: ["D running"], outcome: "ok" }],
      merged: 1,
      unmerged: 1,
    });
    expect(describeCensus(census)).toEqual([
      "requests  1: 1 ok",
      "spans     1 llm_request spans of vLLM merged, 1 unmerged",
      "complete  0: a span of vLLM under each state in which it ran",
      "missing   evil\\x1b[2J (ok): no span under D running",
    ]);
  });
});
