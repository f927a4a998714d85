import { describe, expect, it } from "vitest";
import { MovedTraces } from "./moved-traces.ts";

const id = (n: number): Buffer => Buffer.from(n.toString(16).padStart(32, "0"), "hex");
const hex = (n: number): string => id(n).toString("hex");

describe("MovedTraces", () => {
  it("target gives where a trace went, for the newest half at least and never for those before the most", () => {
    const moved = new MovedTraces(10);
    expect(moved.empty).toBe(true);
    for (let n = 1; n < 1000; n++) {
      moved.note(id(n), 0, hex(n + 5000));
      for (let near = Math.max(1, n - 4); near <= n; near++) expect(moved.target(id(near), 0)).toBe(hex(near + 5000));
      if (n > 10) expect(moved.target(id(n - 10), 0)).toBeUndefined();
    }
    expect(moved.empty).toBe(false);
  });

  it("target gives nothing for a trace that went to two, however long ago the first was, and keeps one that went to one twice", () => {
    const moved = new MovedTraces(6);
    moved.note(id(1), 0, hex(11));
    moved.note(id(2), 0, hex(12));
    moved.note(id(3), 0, hex(13));
    moved.note(id(4), 0, hex(14));
    moved.note(id(1), 0, hex(99));
    moved.note(id(2), 0, { bytes: Buffer.concat([Buffer.alloc(3), id(12)]), at: 3 });
    expect(moved.target(id(1), 0)).toBeUndefined();
    moved.note(id(1), 0, hex(11));
    expect(moved.target(id(1), 0)).toBeUndefined();
    expect(moved.target(id(2), 0)).toBe(hex(12));
    expect(moved.target(Buffer.concat([Buffer.alloc(5), id(4)]), 5)).toBe(hex(14));
    expect(moved.target(id(5), 0)).toBeUndefined();
  });
});
