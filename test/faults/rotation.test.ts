import { describe, it } from "vitest";
import { merging } from "./configs.ts";
import { expectNothingLost, pass, runScenario } from "./scenario.ts";

describe("a live log", () => {
  it("that is renamed every second loses no line", async () => {
    const outcome = await runScenario({
      fault: "log renamed every second",
      log: true,
      config: merging,
      async disturb({ log }) {
        for (let time = 0; time < 6; time++) {
          await pass(1000);
          await log.rotate();
        }
      },
    });
    expectNothingLost(outcome, 1000);
  });

  it("that is copied and truncated every second loses no line that the reader could see", async () => {
    const outcome = await runScenario({
      fault: "log copied and truncated every second, when it is read",
      log: true,
      config: merging,
      async disturb({ log, victim }) {
        for (let time = 0; time < 6; time++) {
          await pass(1000);
          await log.copyTruncate(
            async (lines) => (await victim.metric("otelcol_receiver_accepted_log_records")) === lines,
          );
        }
      },
    });
    expectNothingLost(outcome, 1000);
  });
});
