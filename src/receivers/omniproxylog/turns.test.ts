import { describe, expect, it } from "vitest";
import { Turns } from "./turns.ts";

describe("Turns", () => {
  const idle = Array.from({ length: 200 }, (_, i) => `/idle${i}`);
  const changedAt = (path: string): number => (path === "/active" ? 1_000_000 : path === "/now" ? Infinity : 0);

  it("gives active paths every round and each idle one within as few rounds as its number allows", () => {
    const turns = new Turns();
    const seen = new Map<string, number>();
    for (let round = 0; round < 4; round++) {
      const picked = turns.pick([...idle, "/active", "/now"], changedAt, 1_000_000);
      expect(picked).toHaveLength(66);
      expect(new Set(picked).size).toBe(66);
      for (const path of picked) seen.set(path, (seen.get(path) ?? 0) + 1);
    }
    expect(seen.get("/active")).toBe(4);
    expect(seen.get("/now")).toBe(4);
    expect(idle.filter((path) => !seen.has(path))).toEqual([]);
  });

  it("gives all of them when they are few, and keeps its place when they become fewer", () => {
    const turns = new Turns();
    turns.pick(idle, changedAt, 1_000_000);
    expect(turns.pick(idle.slice(0, 10), changedAt, 1_000_000)).toEqual(idle.slice(0, 10));
    expect(turns.pick(idle.slice(0, 65), changedAt, 1_000_000)).toHaveLength(64);
  });
});
