import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakeClock, settle } from "../../test/kit/clock.ts";
import { Stage, stagedFactories } from "../../test/kit/components.ts";
import { gate } from "../../test/kit/gate.ts";
import { processSurroundings } from "../config/providers.ts";
import { resolveConfig } from "../config/resolve.ts";
import type { Logs, Traces } from "../pdata/payload.ts";
import { silentLogger } from "../telemetry/logger.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { ConsumeError } from "./errors.ts";
import { makePlan } from "./plan.ts";
import { Service } from "./service.ts";

const traces = (...bytes: number[]): Traces => ({
  signal: "traces",
  bytes: new Uint8Array(bytes),
  items: bytes.length,
});
const logs = (...bytes: number[]): Logs => ({ signal: "logs", bytes: new Uint8Array(bytes), items: bytes.length });

async function stageService(yaml: string) {
  const stage = new Stage();
  const { root } = await resolveConfig({ configs: [`yaml:${yaml}`], sets: [] }, processSurroundings);
  const { plan, problems } = makePlan(root, stagedFactories(stage));
  if (!plan) throw new Error(problems.map((problem) => problem.message).join("\n"));
  const clock = new FakeClock();
  const metrics = createMetrics();
  const build = { command: "omnishim", description: "", version: "0" };
  const service = new Service(plan, { logger: silentLogger, metrics, clock, build });
  return { stage, service, clock, metrics };
}

/** The pipelines of design: logs and traces into a connector, traces out. */
const JOINED = `
receivers: {in: , in/logs: }
processors: {pass: , mutate: }
exporters: {out: , out/2: }
connectors: {join: }
extensions: {ext: , ext/2: }
service:
  extensions: [ext, ext/2]
  pipelines:
    logs: {receivers: [in/logs], exporters: [join]}
    traces/in: {receivers: [in], processors: [pass], exporters: [join]}
    traces: {receivers: [join], processors: [mutate, pass], exporters: [out, out/2]}
`;

describe("Service", () => {
  it("starts extensions, then what is downstream first, and stops the other way round", async () => {
    const { stage, service } = await stageService(JOINED);
    expect(stage.events).toEqual(["join traces fed by logs,traces"]);
    await service.start(1000);
    expect(stage.events.slice(1)).toEqual([
      "start extension ext",
      "start extension ext/2",
      "start exporter out",
      "start exporter out/2",
      "start processor pass",
      "start processor mutate",
      "start connector join",
      "start processor pass",
      "start receiver in/logs",
      "start receiver in",
    ]);
    expect(service.health).toEqual({ ready: true, problems: [] });
    stage.events.length = 0;
    expect(await service.shutdown(1000)).toEqual([]);
    expect(stage.events).toEqual([
      "stop receiver in/logs",
      "stop receiver in",
      "stop processor pass",
      "stop connector join",
      "stop processor mutate",
      "stop processor pass",
      "stop exporter out",
      "stop exporter out/2",
      "stop extension ext/2",
      "stop extension ext",
    ]);
  });

  it("carries batches through connectors and processors to every exporter", async () => {
    const { stage, service } = await stageService(JOINED);
    await service.start(1000);
    await stage.send("in", traces(1));
    await stage.send("in/logs", logs(5));
    for (const id of ["out", "out/2"])
      expect(stage.arrived.get(id)?.map(({ signal, bytes }) => [signal, ...bytes])).toEqual([
        ["traces", 2],
        ["traces", 6],
      ]);
  });

  it("shares one receiver, exporter and connector between pipelines and makes a processor for each", async () => {
    const { stage, service } = await stageService(`
receivers: {in: }
processors: {pass: }
exporters: {out: }
service:
  pipelines:
    traces: {receivers: [in], processors: [pass], exporters: [out]}
    traces/2: {receivers: [in], processors: [pass], exporters: [out, out]}
    logs: {receivers: [in], exporters: [out]}
`);
    await service.start(1000);
    expect(stage.events).toEqual([
      "start exporter out",
      "start processor pass",
      "start processor pass",
      "start receiver in",
    ]);
    await stage.send("in", traces(1));
    expect(stage.arrived.get("out")).toHaveLength(2);
    await stage.send("in", logs(1));
    expect(stage.arrived.get("out")?.map((batch) => batch.signal)).toEqual(["traces", "traces", "logs"]);
    await expect(stage.send("in", { signal: "metrics", bytes: new Uint8Array(), items: 0 })).rejects.toThrow(
      "feeds no metrics pipeline",
    );
  });

  it("protects one pipeline's batch from another's writer", async () => {
    const { stage, service } = await stageService(`
receivers: {in: }
processors: {mutate: , pass: }
exporters: {out/a: , out/b: }
service:
  pipelines:
    traces/a: {receivers: [in], processors: [pass, mutate], exporters: [out/a]}
    traces/b: {receivers: [in], processors: [pass], exporters: [out/b]}
`);
    await service.start(1000);
    const batch = traces(1);
    await stage.send("in", batch);
    expect([...(stage.arrived.get("out/a")?.[0]?.bytes ?? [])]).toEqual([2]);
    expect([...(stage.arrived.get("out/b")?.[0]?.bytes ?? [])]).toEqual([1]);
    expect([...batch.bytes]).toEqual([1]);
  });

  it("says which component cannot start, and stops what had started", async () => {
    const { stage, service } = await stageService(JOINED);
    stage.faults.set("start receiver in", () => {
      throw new Error("listen tcp 127.0.0.1:4317: bind: address already in use");
    });
    await expect(service.start(1000)).rejects.toThrow(
      'cannot start pipelines: failed to start "in" receiver: listen tcp 127.0.0.1:4317: bind: address already in use',
    );
    expect(stage.events.filter((event) => event.startsWith("stop"))).toHaveLength(10);
    expect(service.health.ready).toBe(false);
  });

  it("says which extension cannot start, and starts no pipeline", async () => {
    const { stage, service } = await stageService(JOINED);
    stage.faults.set("start extension ext/2", () => Promise.reject(new Error("no")));
    await expect(service.start(1000)).rejects.toThrow(
      'failed to start extensions: failed to start "ext/2" extension: no',
    );
    expect(stage.events.filter((event) => event.startsWith("start"))).toEqual([
      "start extension ext",
      "start extension ext/2",
    ]);
  });

  it("collects every error of the stop and goes on behind it", async () => {
    const { stage, service } = await stageService(JOINED);
    await service.start(1000);
    stage.faults.set("stop receiver in", () => Promise.reject(new Error("first")));
    stage.faults.set("stop exporter out", () => {
      throw new Error("second");
    });
    const errors = await service.shutdown(1000);
    expect(errors.map((error) => error.message)).toEqual([
      'failed to stop "in" receiver: first',
      'failed to stop "out" exporter: second',
    ]);
    expect(stage.events.at(-1)).toBe("stop extension ext");
  });

  it("gives receivers half the time and the rest to what is behind them when requests hang", async () => {
    const { stage, service, clock } = await stageService(JOINED);
    await service.start(1000);
    stage.faults.set("stop receiver in", () => new Promise(() => {}));
    const stopping = service.shutdown(1000);
    await clock.advance(499);
    expect(stage.events).not.toContain("stop connector join");
    await clock.advance(1);
    expect(stage.events).toContain("stop exporter out");
    expect(await stopping).toEqual([]);
  });

  it("leaves behind a component that ignores its deadline, and says what that costs", async () => {
    const { stage, service, clock } = await stageService(JOINED);
    await service.start(1000);
    stage.faults.set("stop exporter out", () => new Promise(() => {}));
    stage.deaf.add("exporter out");
    const stopping = service.shutdown(1000);
    await clock.advance(1000);
    await clock.advance(250);
    expect((await stopping).map((error) => error.message)).toEqual([
      '"out" exporter did not stop in time; what it still held is lost',
    ]);
  });

  it("stops once when asked twice", async () => {
    const { stage, service } = await stageService(JOINED);
    await service.start(1000);
    const [first, second] = await Promise.all([service.shutdown(1000), service.shutdown(1)]);
    expect(first).toBe(second);
    expect(stage.events.filter((event) => event === "stop exporter out")).toHaveLength(1);
  });

  it("tells extensions how the service is, and forgets a problem that is over", async () => {
    const { stage, service } = await stageService(JOINED);
    await service.start(1000);
    const error = new Error("connection refused");
    stage.report("exporter out", { level: "recoverable", error });
    expect(stage.healths.at(-1)).toEqual({
      ready: true,
      problems: [{ component: '"out" exporter', level: "recoverable", error }],
    });
    stage.report("exporter out", { level: "ok" });
    expect(stage.healths.at(-1)).toEqual({ ready: true, problems: [] });
    const before = stage.healths.length;
    await service.shutdown(1000);
    expect(stage.healths[before]).toEqual({ ready: false, problems: [] });
  });

  it("reports the failure when a component cannot go on", async () => {
    const { stage, service } = await stageService(JOINED);
    await service.start(1000);
    stage.report("receiver in", { level: "permanent", error: new Error("one") });
    const error = new Error("socket gone");
    stage.report("receiver in", { level: "fatal", error });
    expect(await service.failure).toBe(error);
  });

  it("gives components the extensions by id", async () => {
    const { stage, service } = await stageService(JOINED);
    await service.start(1000);
    const host = stage.hosts.get("receiver in");
    expect(host?.extension("ext/2")).toBeDefined();
    expect(host?.extension("nope")).toBeUndefined();
  });

  it("counts what passes between components, by outcome", async () => {
    const { stage, service, metrics } = await stageService(JOINED);
    await service.start(1000);
    await stage.send("in", traces(1, 2));
    stage.faults.set("consume exporter out/2", () => Promise.reject(new ConsumeError("retryable", "full")));
    await expect(stage.send("in", traces(1, 2, 3))).rejects.toMatchObject({ message: "full" });
    await settle();
    const text = await metrics.text();
    for (const line of [
      'otelcol_receiver_produced_items{receiver="in",otel_signal="traces",otelcol_component_outcome="success"} 2',
      'otelcol_receiver_produced_items{receiver="in",otel_signal="traces",otelcol_component_outcome="refused"} 3',
      'otelcol_connector_consumed_items{connector="join",otel_signal="traces",otelcol_component_outcome="success"} 2',
      'otelcol_connector_consumed_items{connector="join",otel_signal="traces",otelcol_component_outcome="refused"} 3',
      'otelcol_connector_produced_items{connector="join",otel_signal="traces",otelcol_component_outcome="refused"} 3',
      'otelcol_exporter_consumed_items{exporter="out",otel_signal="traces",otelcol_component_outcome="success"} 5',
      'otelcol_exporter_consumed_items{exporter="out/2",otel_signal="traces",otelcol_component_outcome="failure"} 3',
      'otelcol_processor_incoming_items{processor="mutate",otel_signal="traces"} 5',
      'otelcol_processor_outgoing_items{processor="pass",otel_signal="traces"} 10',
    ])
      expect(text).toContain(line);
  });

  it("starts nothing before what it sends to, and stops nothing before what sends to it, whatever the pipelines are", async () => {
    // Connector k leads from some of the pipelines 0..k to some behind k, so there is no circle.
    const joint = (k: number) =>
      fc.record({
        from: fc.subarray(
          [0, 1, 2].filter((index) => index <= k),
          { minLength: 1 },
        ),
        to: fc.subarray(
          [1, 2, 3].filter((index) => index > k),
          { minLength: 1 },
        ),
      });
    const anyPipelines = fc
      .record({
        joints: fc.tuple(joint(0), joint(1), joint(2)),
        processors: fc.array(fc.shuffledSubarray(["pass", "mutate"]), { minLength: 4, maxLength: 4 }),
        receivers: fc.array(fc.subarray(["in", "in/2"], { minLength: 1 }), { minLength: 4, maxLength: 4 }),
        exporters: fc.array(fc.subarray(["out", "out/2"], { minLength: 1 }), { minLength: 4, maxLength: 4 }),
      })
      .map(({ joints, processors, receivers, exporters }) =>
        [0, 1, 2, 3].map((index) => ({
          receivers: [
            ...(receivers[index] ?? []),
            ...joints.flatMap(({ to }, k) => (to.includes(index) ? [`join/${k}`] : [])),
          ],
          processors: processors[index] ?? [],
          exporters: [
            ...joints.flatMap(({ from }, k) => (from.includes(index) ? [`join/${k}`] : [])),
            ...(exporters[index] ?? []),
          ],
        })),
      );
    await fc.assert(
      fc.asyncProperty(anyPipelines, async (pipelines) => {
        const yaml = JSON.stringify({
          receivers: { in: null, "in/2": null },
          processors: { pass: null, mutate: null },
          exporters: { out: null, "out/2": null },
          connectors: { "join/0": null, "join/1": null, "join/2": null },
          service: { pipelines: Object.fromEntries(pipelines.map((spec, index) => [`traces/${index}`, spec])) },
        });
        const { stage, service } = await stageService(yaml);
        stage.events.length = 0;
        await service.start(1000);
        const started = stage.events.map((event) => event.replace("start ", ""));
        stage.events.length = 0;
        await service.shutdown(1000);
        const stopped = stage.events.map((event) => event.replace("stop ", ""));
        const name = (id: string): string =>
          id.startsWith("in") ? `receiver ${id}` : id.startsWith("out") ? `exporter ${id}` : `connector ${id}`;
        for (const { receivers, exporters } of pipelines)
          for (const from of receivers)
            for (const to of exporters) {
              expect(started.indexOf(name(to))).toBeLessThan(started.indexOf(name(from)));
              expect(stopped.indexOf(name(from))).toBeLessThan(stopped.indexOf(name(to)));
            }
        expect([...stopped].sort()).toEqual([...started].sort());
      }),
      { numRuns: 50 },
    );
  });
});

describe("Service.reload", () => {
  const yaml = (out: string, more = ""): string => `
receivers: {in: }
processors: {pass: , mutate: }
exporters: {out: ${out}}
extensions: {ext: }
service:
  extensions: [ext]
  pipelines: {traces: {receivers: [in], processors: [pass${more}], exporters: [out]}}
`;

  async function planFor(stage: Stage, text: string) {
    const { root } = await resolveConfig({ configs: [`yaml:${text}`], sets: [] }, processSurroundings);
    const { plan, problems } = makePlan(root, stagedFactories(stage));
    if (!plan) throw new Error(problems.map((problem) => problem.message).join("\n"));
    return plan;
  }

  it("does nothing when nothing has changed", async () => {
    const { stage, service } = await stageService(yaml("{}"));
    await service.start(1000);
    const before = stage.events.length;
    expect(await service.reload(await planFor(stage, yaml("{}")), 1000)).toEqual({ started: [], stopped: [] });
    expect(stage.events).toHaveLength(before);
  });

  it("exchanges an exporter under a receiver that goes on: calls wait and lose nothing", async () => {
    const { stage, service } = await stageService(yaml("{}"));
    await service.start(1000);
    const stopping = gate();
    stage.faults.set("stop exporter out", () => stopping.opened);
    const reloading = service.reload(await planFor(stage, yaml("{label: new}", ", mutate")), 1000);
    await settle();
    const sent = stage.send("in", traces(1, 2));
    await settle();
    expect(stage.arrived.get("out") ?? []).toEqual([]);
    stopping.open();
    expect(await reloading).toEqual({
      started: ['"mutate" processor', '"out" exporter'],
      stopped: ['"out" exporter'],
    });
    await sent;
    expect(stage.arrived.get("out")).toHaveLength(1);
    expect(stage.events.filter((event) => event.endsWith("receiver in"))).toEqual(["start receiver in"]);
    expect(await service.shutdown(1000)).toEqual([]);
  });

  it("goes back to the parts before when a new one does not start", async () => {
    const { stage, service } = await stageService(yaml("{}"));
    await service.start(1000);
    let starts = 0;
    stage.faults.set("start exporter out", () => {
      if (starts++ === 0) throw new Error("no");
    });
    await expect(service.reload(await planFor(stage, yaml("{label: new}")), 1000)).rejects.toThrow("no");
    await stage.send("in", traces(1));
    expect(stage.arrived.get("out")).toHaveLength(1);
    expect(await service.shutdown(1000)).toEqual([]);
  });
});
