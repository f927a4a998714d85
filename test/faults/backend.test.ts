import { status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { type FaultPlan, OtlpSink, type SinkFault } from "../kit/otlp-sink.ts";
import { merging } from "./configs.ts";
import { ResettingDoor } from "./resetting-door.ts";
import { expectNothingLost, pass, runScenario, type Stage } from "./scenario.ts";

/** How long the load runs against a backend that answers so. */
const LOAD_MS = 3000;

/** A configuration that gives a backend that hangs a second. */
const patient = (endpoint: string) => merging(endpoint, { exporter: "timeout: 1s" });

async function healthy(stage: Stage): Promise<void> {
  stage.sink.faults = undefined;
}

describe("a backend that is not well", () => {
  it("that is down for the whole load gets everything when it is back", async () => {
    let port = 0;
    const outcome = await runScenario({
      fault: "backend down for the whole load, then back",
      log: true,
      config: merging,
      async disturb({ sink }) {
        port = sink.port;
        await sink.close();
        await pass(LOAD_MS);
      },
      async recover(stage) {
        expect(stage.census.atSink).toBeLessThan(500);
        stage.sink = await OtlpSink.start({ port });
      },
    });
    expectNothingLost(outcome, 1000);
    expect(outcome.refused).toBe(0);
  });

  const unavailable: SinkFault = { kind: "code", code: status.UNAVAILABLE };
  const exhausted: SinkFault = { kind: "code", code: status.RESOURCE_EXHAUSTED, retryDelayMs: 300 };
  const kinds: readonly SinkFault[] = [
    unavailable,
    exhausted,
    { kind: "hang" },
    { kind: "lose-answer" },
    { kind: "delay", ms: 700 },
  ];
  it.each<[string, (random: () => number) => FaultPlan]>([
    ["UNAVAILABLE to every second request", (random) => () => (random() < 0.5 ? unavailable : undefined)],
    ["RESOURCE_EXHAUSTED with RetryInfo to every second", (random) => () => (random() < 0.5 ? exhausted : undefined)],
    ["no answer to every fourth", (random) => () => (random() < 0.25 ? { kind: "hang" } : undefined)],
    [
      "all of these, lost and late answers at random",
      (random) => () => (random() < 0.6 ? kinds[Math.floor(random() * kinds.length)] : undefined),
    ],
  ])("that gives %s gets everything", async (what, plan) => {
    const outcome = await runScenario({
      fault: `backend gives ${what}`,
      log: true,
      config: patient,
      async disturb({ sink, random }) {
        sink.faults = plan(random);
        await pass(LOAD_MS);
      },
      recover: healthy,
    });
    expectNothingLost(outcome, 1000);
  });

  it("that resets its connections gets everything", async () => {
    let door: ResettingDoor | undefined;
    let cut = 0;
    try {
      const outcome = await runScenario({
        fault: "backend resets all connections three times a second",
        log: true,
        async config(endpoint) {
          door = await ResettingDoor.open(endpoint);
          return merging(door.address);
        },
        async disturb() {
          for (let time = 0; time < 12; time++) {
            await pass(330);
            cut += door?.reset() ?? 0;
          }
        },
      });
      expect(cut).toBeGreaterThan(10);
      expectNothingLost(outcome, 1000);
    } finally {
      await door?.close();
    }
  });
});
