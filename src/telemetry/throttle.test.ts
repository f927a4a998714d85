import { describe, expect, it } from "vitest";
import { FakeClock } from "../../test/kit/clock.ts";
import { Throttle } from "./throttle.ts";

describe("Throttle", () => {
  it("pass lets one event through in an interval, with the number and weight of those held back", async () => {
    const clock = new FakeClock();
    const throttle = new Throttle(clock, 1000);
    expect(throttle.pass("full", 5)).toEqual({ held: 0, weight: 5 });
    expect(throttle.pass("full", 2)).toBeUndefined();
    await clock.advance(999);
    expect(throttle.pass("full", 3)).toBeUndefined();
    await clock.advance(1);
    expect(throttle.pass("full", 4)).toEqual({ held: 2, weight: 9 });
    await clock.advance(1000);
    expect(throttle.pass("full")).toEqual({ held: 0, weight: 1 });
  });

  it("pass keeps events of different keys apart", () => {
    const throttle = new Throttle(new FakeClock());
    expect(throttle.pass("a")).toBeDefined();
    expect(throttle.pass("b")).toBeDefined();
    expect(throttle.pass("a")).toBeUndefined();
  });

  it("pass is not moved by steps of the wall clock", () => {
    const clock = new FakeClock();
    const throttle = new Throttle(clock);
    throttle.pass("a");
    clock.stepWall(3_600_000);
    expect(throttle.pass("a")).toBeUndefined();
  });
});
