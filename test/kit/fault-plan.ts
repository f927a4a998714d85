import { ConsumeError } from "../../src/kernel/errors.ts";

/** What a destination does with a batch. */
export type Fate = "ok" | "retryable" | "permanent";

/** The four behaviours of a destination that every component must survive (after the Collector's receivertest contract checker). */
export const faultPlans: readonly {
  readonly name: string;
  readonly refusesForGood: boolean;
  readonly plan: (random: () => number) => Fate;
}[] = [
  { name: "always accepts", refusesForGood: false, plan: () => "ok" },
  { name: "refuses at random for now", refusesForGood: false, plan: (random) => (random() < 0.4 ? "retryable" : "ok") },
  { name: "refuses at random for good", refusesForGood: true, plan: (random) => (random() < 0.3 ? "permanent" : "ok") },
  {
    name: "refuses at random for now or for good",
    refusesForGood: true,
    plan: (random) => {
      const number = random();
      return number < 0.3 ? "retryable" : number < 0.5 ? "permanent" : "ok";
    },
  },
];

/** The error that stands for a fate; undefined for "ok". */
export function errorOf(fate: Fate): ConsumeError | undefined {
  return fate === "ok" ? undefined : new ConsumeError(fate, `planned fault: ${fate}`);
}

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
