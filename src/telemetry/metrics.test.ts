import { describe, expect, it } from "vitest";
import { createMetrics } from "./metrics.ts";

describe("createMetrics", () => {
  it("counter shows at every scrape what was added since, by labels and whatever object carries them", async () => {
    const metrics = createMetrics();
    const counter = metrics.counter("spans", "Spans.", ["role", "cause"]);
    const labels = { role: "prefill", cause: "a" };
    counter.add(1, labels);
    counter.add(2, labels);
    counter.add(4, { cause: "a", role: "prefill" });
    counter.add(8, { role: "prefill", cause: "b" });
    expect(await metrics.text()).toContain('spans{role="prefill",cause="a"} 7\nspans{role="prefill",cause="b"} 8');
    metrics.counter("spans", "Spans.", ["role", "cause"]).add(1, labels);
    expect(await metrics.text()).toContain('spans{role="prefill",cause="a"} 8');
  });

  it("counter shows a combination that nothing was added to at 0, and one without labels too", async () => {
    const metrics = createMetrics();
    metrics.counter("plain", "Plain.").add(0);
    metrics.counter("labelled", "Labelled.", ["cause"]).add(0, { cause: "full" });
    const text = await metrics.text();
    expect(text).toContain("plain 0");
    expect(text).toContain('labelled{cause="full"} 0');
  });

  it("counter refuses to fall, and labels that were not declared", () => {
    const counter = createMetrics().counter("spans", "Spans.", ["role"]);
    expect(() => counter.add(-1, { role: "decode" })).toThrow("decrease");
    expect(() => counter.add(1, { peer: "decode" })).toThrow("peer");
  });
});
