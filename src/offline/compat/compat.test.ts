import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { captureFolder, convertToJaeger, Workplace } from "../../../test/kit/offline.ts";
import type { JaegerTrace } from "../jaeger/model.ts";

const folder = captureFolder("log-to-jaeger");
const expected = (JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as { data: JaegerTrace[] }).data;

/** A trace with its random ids replaced by positions. */
function withoutIds(trace: JaegerTrace): unknown {
  const position = new Map(trace.spans.map((span, index) => [span.spanID, index]));
  return {
    spans: trace.spans.map((span) => ({
      ...span,
      traceID: span.traceID === trace.traceID,
      spanID: position.get(span.spanID),
      references: span.references?.map((reference) => ({
        ...reference,
        traceID: reference.traceID === trace.traceID,
        spanID: position.get(reference.spanID),
      })),
    })),
    processes: trace.processes,
  };
}

describe("convert --compat", () => {
  let place: Workplace;
  beforeEach(() => {
    place = new Workplace();
  });
  afterEach(() => place.remove());

  it("convert --compat gives log_to_jaeger.py's traces value by value, its random ids aside", async () => {
    const { traces } = await convertToJaeger(folder, place.at("trace.json"), { compat: true });
    expect(traces).toHaveLength(expected.length);
    for (const [index, trace] of traces.entries())
      expect(withoutIds(trace), `trace ${index}`).toEqual(withoutIds(expected[index] as JaegerTrace));
    expect(traces[4]?.spans).toHaveLength(45);
  });

  it("convert --compat leaves the statistics alone when only some requests get a trace", async () => {
    const ids = [expected[9], expected[7]].map((trace) => String(trace?.spans[0]?.operationName));
    const { traces } = await convertToJaeger(folder, place.at("trace.json"), {
      compat: true,
      selection: { ids, sinceMs: undefined, untilMs: undefined, top: undefined },
    });
    expect(traces.slice(0, 4).map(withoutIds)).toEqual(expected.slice(0, 4).map(withoutIds));
    expect(traces.slice(4).map((trace) => trace.spans[0]?.operationName)).toEqual([ids[1], ids[0]]);
  });

  it("convert --compat has span ids that are different in each trace", async () => {
    const { traces } = await convertToJaeger(folder, place.at("trace.json"), { compat: true });
    const ids = traces.flatMap(({ spans }) => spans.map(({ spanID }) => spanID));
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{16}$/);
  });

  it("convert --compat begins a request at Time received and names its host when a client sent the id and the host is a name", async () => {
    // The script: requests without `Start to schedule` have no root, and a DNS name for host ends it.
    const logs = place.logs("proxy-mock/seq-basic");
    const { traces, report } = await convertToJaeger(logs, place.at("trace.json"), { compat: true });
    expect(traces.length - 4).toBe(report.requests);
    const client = traces.find(({ spans }) => spans[0]?.operationName === "my-req_1.2");
    const tags = Object.fromEntries((client?.spans[0]?.tags ?? []).map(({ key, value }) => [key, value]));
    expect(tags).toMatchObject({ start_action: "Time received", end_action: "Received all tokens", ip: "localhost" });
    for (const { spans } of traces) {
      expect(spans[0]?.references).toEqual([]);
      for (const span of spans) expect(span.duration).toBeGreaterThanOrEqual(0);
      for (const span of spans.slice(1)) expect(span.references).toHaveLength(1);
    }
  });
});
