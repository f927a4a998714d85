import { describe, expect, it } from "vitest";
import { merging, passThrough } from "./configs.ts";
import { expectNothingLost, pass, runScenario } from "./scenario.ts";

/** How often the program is killed; FAULT_ROUNDS sets another number. */
const ROUNDS = Number(process.env["FAULT_ROUNDS"] ?? 100);
/** After so long no more rounds are begun, so that a machine with much else to do comes to an end; FAULT_SECONDS. */
const SECONDS = Number(process.env["FAULT_SECONDS"] ?? 270);
/** How long it lives under load before it is killed, at most. */
const LIFE_MS = 500;
/** The start of the program needs a processor too, a hundred times. */
const LOAD = { workers: 2, pauseMs: 8 };

describe("kill -9 at random moments under load", () => {
  it(
    `loses nothing that was acknowledged or logged in ${ROUNDS} rounds`,
    async () => {
      let round = 0;
      const began = performance.now();
      const outcome = await runScenario({
        fault: () => `kill -9, ${round} times; the log is renamed in every third round, before or after`,
        log: true,
        load: LOAD,
        config: merging,
        async disturb({ victim, log, random }) {
          // A file that is renamed, with the reader killed, before the reader ever saw it is one that nobody can know of.
          while (!(await victim.metric("otelcol_receiver_accepted_log_records"))) await pass(20);
          for (; round < ROUNDS && performance.now() - began < SECONDS * 1000; round++) {
            await pass(random() * LIFE_MS);
            if (round % 6 === 0) await log.rotate();
            await victim.kill();
            if (round % 6 === 3) await log.rotate();
            await victim.start();
          }
        },
      });
      if (round < ROUNDS) console.log(`${SECONDS} s were over after ${round} of ${ROUNDS} rounds`);
      expectNothingLost(outcome, round * 10);
      expect(outcome.refused).toBeGreaterThan(0);
      expect(round).toBeGreaterThan(Math.min(ROUNDS, 10) - 1);
    },
    (SECONDS + 200) * 1000,
  );

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
