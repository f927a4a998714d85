import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BootClock, InstanceClock, offsetBetween } from "./clock.ts";

const OFFSET = 1_795_320_788_113_399;

describe("BootClock", () => {
  it("knows nothing before any evidence", () => {
    expect(new BootClock().estimate()).toBeUndefined();
  });

  it("never claims more certainty than it has when pairs are late by up to 0.4 ms", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(400), { minLength: 1, maxLength: 100 }), (delays) => {
        const clock = new BootClock();
        delays.forEach((delay, i) => clock.addPair(OFFSET + i * 1e6 - delay, i * 1e6, "line"));
        const known = clock.estimate();
        expect(known?.offsetUs).toBe(OFFSET - Math.min(...delays));
        if (delays.length === 1)
          expect(Math.abs((known?.offsetUs as number) - OFFSET)).toBeLessThanOrEqual(known?.uncertaintyUs as number);
      }),
    );
  });

  it("follows a step forward at once and a step back after 64 pairs", () => {
    const clock = new BootClock();
    for (let i = 0; i < 10; i++) clock.addPair(OFFSET + i * 1000, i * 1000, "line");
    clock.addPair(OFFSET + 5e6 + 11_000, 11_000, "line");
    expect(clock.estimate()?.offsetUs).toBe(OFFSET + 5e6);
    for (let i = 12; i < 12 + 63; i++) clock.addPair(OFFSET + i * 1000, i * 1000, "line");
    expect(clock.estimate()?.offsetUs).toBe(OFFSET + 5e6);
    clock.addPair(OFFSET + 80_000, 80_000, "line");
    expect(clock.estimate()?.offsetUs).toBe(OFFSET);
  });

  it("follows a step back within a minute or so when requests are rare", () => {
    const clock = new BootClock();
    clock.addPair(OFFSET, 0, "line");
    for (let i = 1; i <= 20; i++) clock.addPair(OFFSET - 3_600e6 + i * 10e6, i * 10e6, "line");
    expect(clock.estimate()?.offsetUs).toBe(OFFSET - 3_600e6);
  });

  it("narrows the second of a prefix over many lines to where the seconds change", () => {
    const clock = new BootClock();
    for (let boot = 0; boot < 30e6; boot += 137_001) clock.addPrefix(Math.floor((OFFSET + boot) / 1e6), boot);
    const known = clock.estimate();
    expect(known?.uncertaintyUs).toBeLessThan(70_000);
    expect(Math.abs((known?.offsetUs as number) - OFFSET)).toBeLessThanOrEqual(known?.uncertaintyUs as number);
  });

  it("prefers pairs to prefixes", () => {
    const clock = new BootClock();
    clock.addPrefix(Math.floor(OFFSET / 1e6), 0);
    clock.addPair(OFFSET - 100, 0, "row");
    expect(clock.estimate()).toEqual({ offsetUs: OFFSET - 100, uncertaintyUs: 1000 });
  });
});

describe("InstanceClock", () => {
  it("bounds an instance's offset by spans that lie inside their running interval", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -5e6, max: 5e6 }),
        fc.array(fc.tuple(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: 3000 })), {
          minLength: 1,
          maxLength: 80,
        }),
        (offset, margins) => {
          const clock = new InstanceClock();
          margins.forEach(([before, after], i) =>
            clock.add(i * 1e6 + before + offset, i * 1e6 + 50_000 + offset, i * 1e6, i * 1e6 + 50_000 + after),
          );
          const known = clock.estimate();
          expect(Math.abs((known?.offsetUs as number) - offset)).toBeLessThanOrEqual(
            (known?.uncertaintyUs as number) + 1,
          );
          if (Math.abs(offset) > 6000) expect(Math.sign(clock.certainUs())).toBe(Math.sign(offset));
          if (offset === 0) expect(clock.certainUs()).toBe(0);
        },
      ),
    );
  });

  it("serves what was measured elsewhere while no span bounds the offset", () => {
    const clock = new InstanceClock();
    expect(clock.estimate()).toBeUndefined();
    clock.expect({ offsetUs: 40_000, uncertaintyUs: 300 });
    expect(clock.estimate()).toEqual({ offsetUs: 40_000, uncertaintyUs: 300 });
    expect(clock.certainUs()).toBe(40_000);
  });

  it("narrows its bounds by what was measured elsewhere, and never beyond either", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -1e6, max: 1e6 }),
        fc.integer({ min: 1, max: 3000 }),
        fc.integer({ min: 1, max: 3000 }),
        fc.integer({ min: -1000, max: 1000 }),
        fc.integer({ min: 1000, max: 5000 }),
        (offset, before, after, error, uncertaintyUs) => {
          const clock = new InstanceClock();
          clock.add(before + offset, 50_000 + offset, 0, 50_000 + after);
          const alone = clock.estimate();
          clock.expect({ offsetUs: offset + error, uncertaintyUs });
          const known = clock.estimate();
          expect(known?.uncertaintyUs).toBeLessThanOrEqual(Math.min(alone?.uncertaintyUs as number, uncertaintyUs));
          expect(Math.abs((known?.offsetUs as number) - offset)).toBeLessThanOrEqual(
            (known?.uncertaintyUs as number) + 1,
          );
        },
      ),
    );
  });

  it("keeps its own bounds when what was measured elsewhere contradicts them", () => {
    const clock = new InstanceClock();
    clock.add(1000, 49_000, 0, 50_000);
    const alone = clock.estimate();
    clock.expect({ offsetUs: 40_000, uncertaintyUs: 300 });
    expect(clock.estimate()).toEqual(alone);
  });

  it("falls back to what was measured elsewhere when its bounds contradict each other", () => {
    const clock = new InstanceClock();
    clock.add(1000, 49_000, 0, 50_000);
    clock.add(1_080_000, 1_100_000, 1_000_000, 1_050_000);
    expect(clock.estimate()).toBeUndefined();
    clock.expect({ offsetUs: 20_000, uncertaintyUs: 300 });
    expect(clock.estimate()).toEqual({ offsetUs: 20_000, uncertaintyUs: 300 });
  });
});

describe("offsetBetween", () => {
  const clocks = new Map([
    ["proxy", { offsetUs: -2000, uncertaintyUs: 100 }],
    ["gpu", { offsetUs: 3000, uncertaintyUs: 50 }],
  ]);

  it("takes the offset of one clock to another, and both uncertainties", () => {
    expect(offsetBetween(clocks, "gpu", "proxy")).toEqual({ offsetUs: 5000, uncertaintyUs: 150 });
  });

  it.each([
    ["gpu", "unknown"],
    ["unknown", "proxy"],
    ["gpu", "gpu"],
  ])("tells nothing of %s against %s", (host, reference) => {
    expect(offsetBetween(clocks, host, reference)).toBeUndefined();
  });
});
