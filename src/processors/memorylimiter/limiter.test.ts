import { describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/kit/clock.ts";
import { decodeSection } from "../../config/schema.ts";
import { silentLogger } from "../../telemetry/logger.ts";
import { memoryLimiterSchema } from "./config.ts";
import { Limiter } from "./limiter.ts";
import { processMemory, totalMemory } from "./memory.ts";

const MIB = 1024 * 1024;

/** A process with 100 MiB to use, 80 of them before data is refused. */
function started(over: object = {}) {
  const { config } = decodeSection(memoryLimiterSchema, { check_interval: "1s", limit_mib: 100, ...over });
  const clock = new FakeClock();
  const said: string[] = [];
  /** What is in use, and how much of it a collection frees. */
  const process = { usedMib: 10, garbageMib: 0, heapMib: 5, collections: 0 };
  const say = (message: string): void => void said.push(message);
  const limiter = new Limiter(config, {
    clock,
    logger: { ...silentLogger, info: say, warn: say },
    memory: {
      total: 1000 * MIB,
      heapLimit: 1000 * MIB,
      read: () => ({ used: process.usedMib * MIB, heap: process.heapMib * MIB }),
      collect: () => {
        process.collections++;
        clock.after(50, () => {
          process.usedMib -= process.garbageMib;
          process.garbageMib = 0;
        });
      },
    },
  });
  limiter.acquire();
  return { limiter, clock, process, said };
}

describe("Limiter", () => {
  it("lets data through below the soft limit", async () => {
    const { limiter, clock, process, said } = started();
    process.usedMib = 79;
    await clock.advance(5000);
    expect(limiter.admits(1)).toBe(true);
    expect(process.collections).toBe(0);
    expect(said).toEqual(["Memory limiter configured"]);
  });

  it("collects garbage at the soft limit, and does not refuse when that helps", async () => {
    const { limiter, clock, process } = started();
    Object.assign(process, { usedMib: 85, garbageMib: 30 });
    await clock.advance(1000);
    expect(process.collections).toBe(1);
    expect(limiter.admits(1)).toBe(true);
    await clock.advance(100);
    expect(limiter.used).toBe(55 * MIB);
    expect(limiter.admits(1)).toBe(true);
  });

  it("refuses from the soft limit on when that does not help, and goes on when the memory is free", async () => {
    const { limiter, clock, process, said } = started();
    process.usedMib = 85;
    await clock.advance(1100);
    expect(limiter.admits(1)).toBe(false);
    await clock.advance(5000);
    // Collecting takes time: min_gc_interval_when_soft_limited.
    expect(process.collections).toBe(1);
    await clock.advance(5000);
    expect(process.collections).toBe(2);
    process.usedMib = 70;
    await clock.advance(1000);
    expect(limiter.admits(1)).toBe(true);
    expect(said).toEqual([
      "Memory limiter configured",
      "Memory usage is above soft limit. Forcing a GC.",
      "Memory usage is above soft limit. Refusing data.",
      "Memory usage after GC.",
      "Memory usage back within limits. Resuming normal operation.",
    ]);
  });

  it("finds garbage that came about while it refused", async () => {
    const { limiter, clock, process } = started();
    process.usedMib = 85;
    await clock.advance(1100);
    process.garbageMib = 60;
    await clock.advance(10_000);
    expect(limiter.admits(1)).toBe(true);
  });

  it("refuses at once and collects at every look above the hard limit", async () => {
    const { limiter, clock, process } = started();
    process.usedMib = 100;
    await clock.advance(1000);
    expect(limiter.admits(1)).toBe(false);
    await clock.advance(3000);
    expect(process.collections).toBe(4);
  });

  it("keeps min_gc_interval_when_hard_limited between two collections", async () => {
    const { clock, process } = started({ min_gc_interval_when_hard_limited: "3s" });
    process.usedMib = 100;
    await clock.advance(6500);
    expect(process.collections).toBe(2);
  });

  it("looks without waiting for check_interval when a quarter of the spike limit came in", () => {
    const { limiter, process } = started({ check_interval: "1h" });
    process.usedMib = 101;
    expect(limiter.admits(4 * MIB)).toBe(true);
    expect(limiter.admits(2 * MIB)).toBe(false);
  });

  it("refuses before V8's heap is full, whatever limit_mib is", async () => {
    const { limiter, clock, process } = started({ limit_mib: 5000 });
    process.heapMib = 810;
    await clock.advance(1100);
    expect(limiter.admits(1)).toBe(false);
  });

  it("stops looking when its last user has stopped, and looks again for the next", async () => {
    const { limiter, clock, process } = started();
    limiter.acquire();
    process.usedMib = 101;
    await clock.advance(1000);
    limiter.release();
    expect(limiter.admits(1)).toBe(false);
    limiter.release();
    await clock.advance(200);
    expect(clock.pending).toBe(0);
    expect(limiter.admits(1)).toBe(true);
    limiter.acquire();
    expect(limiter.admits(1)).toBe(false);
    limiter.release();
  });
});

describe("processMemory", () => {
  it("sees buffers come, and go when garbage was collected", async () => {
    const memory = processMemory();
    const before = memory.read().used;
    let held: Buffer | undefined = Buffer.alloc(64 * MIB, 1);
    expect(memory.read().used - before).toBeGreaterThan(60 * MIB);
    held = undefined;
    for (let turn = 0; turn < 20 && memory.read().used - before > 30 * MIB; turn++) {
      memory.collect();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(held).toBeUndefined();
    expect(memory.read().used - before).toBeLessThan(30 * MIB);
    expect(memory.read().used).toBeLessThanOrEqual(process.memoryUsage.rss() + MIB);
    expect(memory.heapLimit).toBeGreaterThan(100 * MIB);
  });

  it.each([
    [undefined, 1000],
    [0, 1000],
    [500, 500],
    [18_446_744_073_709_552_000, 1000],
  ])("takes %s of a container for %i of 1000", (constrained, total) => {
    expect(totalMemory(constrained, 1000)).toBe(total);
  });
});
