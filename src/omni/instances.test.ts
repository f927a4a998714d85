import { describe, expect, it } from "vitest";
import { Instances } from "./instances.ts";
import { resourceFacts, type SpanFacts } from "./span-scan.ts";

const CLOCKS = new Map([
  ["10.0.0.1", { offsetUs: 0, uncertaintyUs: 100 }],
  ["10.0.0.2", { offsetUs: 40_000, uncertaintyUs: 200 }],
  ["fd00::2", { offsetUs: 40_000, uncertaintyUs: 200 }],
]);
const OPEN = { from: 1e15, to: Number.POSITIVE_INFINITY };

/** A span of an instance, 1 ms inside a running interval of 50 ms, on a clock that is ahead by so much. */
function span(aheadUs: number): SpanFacts {
  return {
    startUs: 1e15 + 1000 + aheadUs,
    endUs: 1e15 + 49_000 + aheadUs,
    startNanos: 0n,
    endNanos: 0n,
    fromVllm: true,
    resource: resourceFacts(new Map([["service.instance.id", "decode-1"]])),
  } as unknown as SpanFacts;
}

describe("Instances", () => {
  it.each(["10.0.0.2:8100", "10.0.0.2", "[fd00::2]:8100"])(
    "takes the clock of the host that the proxy went to, %s, when the span is not bounded",
    (upstream) => {
      const instances = new Instances("annotate", CLOCKS);
      const known = instances.watch(span(40_000), OPEN, { proxy: "10.0.0.1", upstream });
      expect(known).toEqual({ name: "decode-1", estimate: { offsetUs: 40_000, uncertaintyUs: 300 } });
      expect(instances.shiftUs(span(40_000))).toBe(40_000);
      expect(instances.skew(span(40_000)).attributes).toEqual([
        ["omni.clock.offset_ms", 40],
        ["omni.clock.offset_uncertainty_ms", 0.3],
      ]);
    },
  );

  it("narrows what spans tell by what is known of the hosts", () => {
    const interval = { from: 1e15, to: 1e15 + 50_000 };
    const alone = new Instances("annotate", new Map());
    const helped = new Instances("annotate", CLOCKS);
    const route = { proxy: "10.0.0.1", upstream: "10.0.0.2:8100" };
    expect(alone.watch(span(40_000), interval, route)?.estimate.uncertaintyUs).toBe(1000);
    expect(helped.watch(span(40_000), interval, route)?.estimate).toEqual({ offsetUs: 40_000, uncertaintyUs: 300 });
  });

  it.each([
    ["the upstream's clock is not known", { proxy: "10.0.0.1", upstream: "10.0.0.9:8100" }],
    ["the proxy's clock is not known", { proxy: "", upstream: "10.0.0.2:8100" }],
    ["both are one host", { proxy: "10.0.0.2", upstream: "10.0.0.2:8100" }],
    ["the upstream is not known", { proxy: "10.0.0.1", upstream: "" }],
  ])("tells nothing of an unbounded span when %s", (_, route) => {
    const instances = new Instances("annotate", CLOCKS);
    expect(instances.watch(span(40_000), OPEN, route)).toBeUndefined();
    expect(instances.shiftUs(span(40_000))).toBe(0);
  });
});
