import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Signal } from "./api.ts";
import {
  type ConnectorPairs,
  connectorMisuses,
  type GraphNode,
  nodeKey,
  orderGraph,
  type PipelineSpec,
} from "./graph.ts";

const ANY: ConnectorPairs = [
  ["traces", "traces"],
  ["logs", "traces"],
];

function pipeline(id: string, receivers: string[], processors: string[], exporters: string[]): PipelineSpec {
  return { id, signal: id.split("/")[0] as Signal, receivers, processors, exporters };
}

function order(pipelines: readonly PipelineSpec[], connectors: Readonly<Record<string, ConnectorPairs>> = {}) {
  return orderGraph(pipelines, new Map(Object.entries(connectors)));
}

function keys(result: ReturnType<typeof order>): string[][] {
  if ("cycle" in result) throw new Error(result.cycle);
  return result.levels.map((level) => level.map(nodeKey));
}

describe("orderGraph", () => {
  it("puts receivers first and exporters last when connectors join pipelines", () => {
    const found = keys(
      order(
        [
          pipeline("logs", ["omni_proxy_log"], [], ["merge"]),
          pipeline("traces/in", ["otlp"], ["limit"], ["merge"]),
          pipeline("traces", ["merge"], ["batch"], ["otlp", "debug"]),
        ],
        { merge: ANY },
      ),
    );
    expect(found).toEqual([
      ["receiver:omni_proxy_log", "receiver:otlp"],
      ["processor:traces/in:limit"],
      ["connector:merge"],
      ["processor:traces:batch"],
      ["exporter:otlp", "exporter:debug"],
    ]);
  });

  it("makes one node of a receiver, exporter or connector and one a pipeline of a processor", () => {
    const found = keys(
      order([pipeline("traces", ["a"], ["batch"], ["x"]), pipeline("traces/2", ["a"], ["batch"], ["x"])]),
    );
    expect(found.flat().sort()).toEqual([
      "exporter:x",
      "processor:traces/2:batch",
      "processor:traces:batch",
      "receiver:a",
    ]);
  });

  it("names the circle from its connector on when pipelines feed themselves", () => {
    const found = order(
      [
        pipeline("traces/in", ["otlp"], [], ["c1"]),
        pipeline("traces/a", ["c1"], ["batch"], ["c2"]),
        pipeline("traces/b", ["c2"], [], ["c1", "debug"]),
      ],
      { c1: ANY, c2: ANY },
    );
    expect(found).toEqual({
      cycle:
        'connector "c1" (traces to traces) -> processor "batch" in pipeline "traces/a" -> connector "c2" (traces to traces) -> connector "c1" (traces to traces)',
    });
  });

  it("orders every graph without a circle so that senders come before receivers, and finds a circle in every other", () => {
    const names = ["p0", "p1", "p2", "p3"];
    // Pipeline i is fed by connector i and feeds any connectors.
    const anyPipelines = fc
      .tuple(
        ...names.map((_, i) =>
          fc.record({ to: fc.subarray([0, 1, 2, 3]), processors: fc.subarray(["x", "y"]), i: fc.constant(i) }),
        ),
      )
      .map((specs) =>
        specs.map(({ to, processors, i }) =>
          pipeline(`traces/${i}`, [`c${i}`, "in"], processors, [...to.map((n) => `c${n}`), "out"]),
        ),
      );
    fc.assert(
      fc.property(anyPipelines, (pipelines) => {
        const connectors = Object.fromEntries(pipelines.map((_, i) => [`c${i}`, ANY]));
        const result = order(pipelines, connectors);
        const reach = (from: number, seen: Set<number>): Set<number> => {
          for (const next of pipelines[from]?.exporters ?? []) {
            const index = Number(next.slice(1));
            if (next.startsWith("c") && !seen.has(index)) {
              seen.add(index);
              reach(index, seen);
            }
          }
          return seen;
        };
        const circular = pipelines.some((_, i) => reach(i, new Set()).has(i));
        expect("cycle" in result).toBe(circular);
        if ("cycle" in result) {
          const steps = result.cycle.split(" -> ");
          expect(steps.at(0)).toBe(steps.at(-1));
          expect(steps[0]).toContain("connector");
          return;
        }
        const place = new Map(result.levels.flatMap((level, depth) => level.map((node) => [nodeKey(node), depth])));
        const at = (node: GraphNode): number => place.get(nodeKey(node)) ?? Number.NaN;
        for (const { id, receivers, processors, exporters } of pipelines) {
          const end = (kind: "receiver" | "exporter", name: string): GraphNode => ({
            kind: name.startsWith("c") ? "connector" : kind,
            id: name,
          });
          const stages = [
            receivers.map((name) => at(end("receiver", name))),
            ...processors.map((name) => [at({ kind: "processor", id: name, pipeline: id })]),
            exporters.map((name) => at(end("exporter", name))),
          ];
          for (let i = 1; i < stages.length; i++)
            expect(Math.max(...(stages[i - 1] ?? []))).toBeLessThan(Math.min(...(stages[i] ?? [])));
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("connectorMisuses", () => {
  const misuses = (pipelines: readonly PipelineSpec[], pairs: ConnectorPairs = ANY) =>
    connectorMisuses(pipelines, new Map([["c", pairs]])).map((misuse) => misuse.message);

  it("is content when every use has its other side", () => {
    expect(
      misuses([
        pipeline("logs", ["f"], [], ["c"]),
        pipeline("traces/in", ["otlp"], [], ["c"]),
        pipeline("traces", ["c"], [], ["debug"]),
      ]),
    ).toEqual([]);
    expect(misuses([pipeline("traces", ["otlp"], [], ["debug"])])).toEqual([]);
  });

  it("names the pipelines when a connector has one side only", () => {
    expect(misuses([pipeline("traces", ["otlp"], [], ["c"]), pipeline("traces/2", ["otlp"], [], ["c"])])).toEqual([
      'connector "c" used as exporter in [traces traces/2] pipeline but not used in any supported receiver pipeline',
    ]);
    expect(misuses([pipeline("traces", ["c"], [], ["debug"])])).toEqual([
      'connector "c" used as receiver in [traces] pipeline but not used in any supported exporter pipeline',
    ]);
  });

  it("names both sides when it cannot join their signals", () => {
    expect(misuses([pipeline("traces", ["otlp"], [], ["c"]), pipeline("logs", ["c"], [], ["debug"])])).toEqual([
      'connector "c" used as exporter in [traces] pipeline but not used in any supported receiver pipeline',
      'connector "c" used as receiver in [logs] pipeline but not used in any supported exporter pipeline',
    ]);
  });

  it("names only the side that is left over when another use is joined", () => {
    expect(
      misuses([
        pipeline("traces/in", ["otlp"], [], ["c"]),
        pipeline("metrics", ["otlp"], [], ["c"]),
        pipeline("traces", ["c"], [], ["debug"]),
      ]),
    ).toEqual(['connector "c" used as exporter in [metrics] pipeline but not used in any supported receiver pipeline']);
  });
});
