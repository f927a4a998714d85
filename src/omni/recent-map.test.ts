import { describe, expect, it } from "vitest";
import { RecentMap } from "./recent-map.ts";

describe("RecentMap", () => {
  it("keeps the newest half and forgets the oldest when more than it may hold are set", () => {
    const map = new RecentMap<number>(10);
    for (let n = 0; n < 1000; n++) {
      map.set(`${n}`, n);
      for (let near = Math.max(0, n - 4); near <= n; near++) expect(map.get(`${near}`)).toBe(near);
      expect(map.get(`${n - 10}`)).toBeUndefined();
    }
  });

  it("gives the newest value of a key that is set in both generations", () => {
    const map = new RecentMap<string>(4);
    expect(map.empty).toBe(true);
    map.set("a", "first");
    map.set("b", "");
    map.set("a", "second");
    expect(map.get("a")).toBe("second");
    expect(map.empty).toBe(false);
  });
});
