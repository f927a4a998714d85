import { describe, expect, it } from "vitest";
import { passThrough } from "./configs.ts";
import { expectNothingLost, pass, runScenario } from "./scenario.ts";

/** How often the program is killed; FAULT_ROUNDS sets another number. */
const ROUNDS = Number(process.env["FAULT_ROUNDS"] ?? 100);
/** How long it lives under load before it is killed, at most. */
const LIFE_MS = 800;

describe("kill -9 at random moments under load", () => {
  it(`loses nothing that was acknowledged in ${ROUNDS} rounds`, async () => {
    const outcome = await runScenario({
      fault: `kill -9, ${ROUNDS} times`,
      config: passThrough,
      async disturb({ victim, random }) {
        for (let round = 0; round < ROUNDS; round++) {
          await pass(random() * LIFE_MS);
          await victim.kill();
          await victim.start();
        }
      },
    });
    expectNothingLost(outcome, ROUNDS * 20);
    expect(outcome.refused).toBeGreaterThan(0);
  });

  it("would be seen to lose: a queue in memory does", async () => {
    const outcome = await runScenario({
      fault: "kill -9, 3 times, the queue in memory (the check of this check)",
      config: (endpoint) => passThrough(endpoint, { queue: "queue_size: 100000" }),
      stillMs: 2000,
      async disturb({ victim, sink }) {
        sink.faults = () => ({ kind: "delay", ms: 300 });
        for (let round = 0; round < 3; round++) {
          await pass(400);
          await victim.kill();
          await victim.start();
        }
      },
    });
    expect(outcome.lost).toBeGreaterThan(0);
  });
});
