import { describe, expect, it } from "vitest";
import { seededRandom } from "../kit/fault-plan.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { durableConfig } from "./durable-config.ts";
import { Census, Load } from "./load.ts";
import { recordFigures } from "./report.ts";
import { Victim } from "./victim.ts";

/** How often the program is killed; FAULT_ROUNDS sets another number. */
const ROUNDS = Number(process.env["FAULT_ROUNDS"] ?? 100);
/** How long it lives under load before it is killed, at most. */
const LIFE_MS = 1200;

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("kill -9 under load", () => {
  it(`loses nothing that was acknowledged in ${ROUNDS} rounds`, async () => {
    const random = seededRandom(20261124);
    const sink = await OtlpSink.start();
    const census = new Census(sink);
    const victim = await Victim.create(durableConfig(sink.address));
    try {
      await victim.start();
      const load = new Load(victim.places);
      for (let round = 0; round < ROUNDS; round++) {
        await wait(random() * LIFE_MS);
        await victim.kill();
        census.take();
        await victim.start();
      }
      await load.stop();
      await drained(census, load, sink);
      const lost = census.missing(load.acknowledged).length;
      recordFigures({
        fault: `kill -9, ${ROUNDS} times at random moments`,
        ...load.figures,
        atSink: census.atSink,
        duplicates: census.duplicates,
        lost,
      });
      expect(load.figures.acknowledged).toBeGreaterThan(ROUNDS * 20);
      for (const sender of load.acknowledged) expect(sender.size).toBeGreaterThan(0);
      expect(lost).toBe(0);
    } finally {
      await victim.remove();
      await sink.close();
    }
  });
});

/** Resolves when all that was acknowledged has come, or it is clear that it will not. */
async function drained(census: Census, load: Load, sink: OtlpSink, timeoutMs = 60_000): Promise<void> {
  const done = (): boolean => {
    census.take();
    return census.missing(load.acknowledged).length === 0;
  };
  await sink.until("everything acknowledged came", done, timeoutMs).catch(() => {});
}
