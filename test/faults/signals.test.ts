import { describe, expect, it } from "vitest";
import { merging } from "./configs.ts";
import { expectNothingLost, pass, runScenario } from "./scenario.ts";

describe("signals under load", () => {
  it("SIGTERM loses nothing, and ends with 0 in time", async () => {
    const rounds = 4;
    const outcome = await runScenario({
      fault: `SIGTERM, ${rounds} times`,
      log: true,
      config: merging,
      async disturb({ victim, random }) {
        for (let round = 0; round < rounds; round++) {
          await pass(500 + random() * 1000);
          expect(await victim.terminate(10_000)).toEqual({ code: 0, signal: undefined });
          await victim.start();
        }
      },
    });
    expectNothingLost(outcome, 1000);
  });

  it("SIGHUP every second loses nothing, and refuses nobody", async () => {
    const times = 6;
    const outcome = await runScenario({
      fault: `SIGHUP every second, ${times} times, each with other settings of everything but the OTLP ports`,
      log: true,
      config: merging,
      async disturb({ victim, sink }) {
        for (let time = 1; time <= times; time++) {
          await pass(1000);
          await victim.reload(
            merging(sink.address, {
              batch: `timeout: ${100 + time}ms`,
              exporter: `timeout: ${5 + time}s`,
              log: `poll_interval: ${100 + time}ms`,
              merge: `request_timeout: ${15 + time}m`,
            }),
          );
        }
      },
    });
    expectNothingLost(outcome, 1000);
    expect(outcome.refused, JSON.stringify(outcome.reasons.map((map) => [...map]))).toBe(0);
  });
});
