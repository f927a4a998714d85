import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { readSpans } from "../kit/spans.ts";
import { merging } from "./configs.ts";
import { expectNothingLost, pass, runScenario } from "./scenario.ts";
import { POISON } from "./sent-spans.ts";
import type { VictimPlaces } from "./victim.ts";

/** One span in so many is refused for good. */
const EVERY = 40;

const lettersOf = (places: VictimPlaces): string => `${places.storage}-refused`;

/** Numbers of the spans in a dead-letter folder. Files are written once, so each is read once. */
class Letters {
  readonly numbers = new Set<number>();
  readonly #read = new Set<string>();

  read(folder: string): ReadonlySet<number> {
    if (!existsSync(folder)) return this.numbers;
    for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
      if (!name.endsWith(".pb") || this.#read.has(name)) continue;
      this.#read.add(name);
      for (const { spanId } of readSpans(readFileSync(join(folder, name)))) this.numbers.add(Number(`0x${spanId}`));
    }
    return this.numbers;
  }
}

describe("a backend that refuses some spans for good", () => {
  it("gets all others, and the refused ones are dead letters", async () => {
    const letters = new Letters();
    let folder = "";
    let failed: number | undefined;
    const outcome = await runScenario({
      fault: `backend gives INVALID_ARGUMENT to requests with one of every ${EVERY}th span; dead_letter`,
      log: true,
      load: { workers: 2, pauseMs: 8, poisonEvery: EVERY },
      config: (endpoint) => (places) =>
        merging(endpoint, { exporter: `dead_letter: {directory: "${lettersOf(places)}"}` })(places),
      async disturb({ victim, sink }) {
        folder = lettersOf(victim.places);
        sink.faults = ({ bytes }) =>
          bytes.includes(POISON) ? { kind: "code", code: status.INVALID_ARGUMENT } : undefined;
        await pass(4000);
      },
      refusedForGood: () => letters.read(folder),
      async finished({ victim }) {
        failed = await victim.metric("otelcol_exporter_send_failed_spans");
      },
    });
    expectNothingLost(outcome, 1000);
    expect(outcome.forGood).toBeGreaterThan(10);
    expect([...letters.numbers].filter((number) => number % EVERY !== 0)).toEqual([]);
    expect(failed).toBe(outcome.forGood);
  });
});
