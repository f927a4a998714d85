import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakeClock, settle } from "../../../test/kit/clock.ts";
import { CrashDisk } from "../../../test/kit/crash-disk.ts";
import { testSettings } from "../../../test/kit/settings.ts";
import { Budget } from "./budget.ts";
import type { StorageParts } from "./parts.ts";
import { FileStateMap } from "./state-map.ts";
import { StorageTelemetry } from "./telemetry.ts";

function parts(): StorageParts {
  const budget = new Budget(1 << 30);
  const clock = new FakeClock();
  return {
    budget,
    clock,
    telemetry: new StorageTelemetry(testSettings("file_storage"), budget),
    fsync: true,
    segmentBytes: 1000,
    savers: new Set(),
  };
}

const seen = (map: FileStateMap): Record<string, string> =>
  Object.fromEntries([...map.entries].map(([key, value]) => [key, Buffer.from(value).toString()]));

describe("FileStateMap", () => {
  it("gives back the last value of each key, and forgets what was forgotten", async () => {
    const disk = new CrashDisk();
    const map = await FileStateMap.open("c", disk, parts());
    await map.set("a", Buffer.from("1"));
    await map.set("b", Buffer.from("2"));
    await map.set("a", Buffer.from("3"));
    await map.set("b", undefined);
    await map.set("c", Buffer.from(""));
    expect(
      seen(
        await FileStateMap.open(
          "c",
          disk.crash(() => 0.99),
          parts(),
        ),
      ),
    ).toEqual({ a: "3", c: "" });
  });

  it("stays small however often values are replaced", async () => {
    const disk = new CrashDisk();
    const map = await FileStateMap.open("c", disk, parts());
    for (let round = 0; round < 1000; round++) await map.set(`key ${round % 5}`, Buffer.alloc(1000, round));
    expect(disk.names.filter((name) => name.endsWith(".map"))).toHaveLength(1);
    expect(disk.used).toBeLessThan(300_000);
    expect((await FileStateMap.open("c", disk.kill(), parts())).entries.size).toBe(5);
  });

  it("has every value whose set resolved, or a later one, after any crash", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            { weight: 8, arbitrary: fc.record({ key: fc.constantFrom("a", "b", "c"), isGone: fc.boolean() }) },
            { weight: 1, arbitrary: fc.constant("crash" as const) },
          ),
          { maxLength: 40 },
        ),
        fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        async (operations, randoms) => {
          let disk = new CrashDisk();
          let map = await FileStateMap.open("c", disk, parts());
          /** Key -> what it may be: the acknowledged value, and those that were on their way since. */
          const possible = new Map<string, (string | undefined)[]>();
          let serial = 0;
          const restart = async (): Promise<void> => {
            disk = disk.crash(() => randoms.next().value as number);
            map = await FileStateMap.open("c", disk, parts());
            const found = seen(map);
            for (const [key, values] of possible) {
              expect(values).toContain(found[key]);
              possible.set(key, [found[key]]);
            }
          };
          for (const operation of operations) {
            if (operation === "crash") {
              await restart();
              continue;
            }
            const value = operation.isGone ? undefined : `${serial++}`;
            const values = possible.get(operation.key) ?? [undefined];
            values.push(value);
            possible.set(operation.key, values);
            void map.set(operation.key, value === undefined ? undefined : Buffer.from(value)).then(
              () => values.splice(0, values.lastIndexOf(value)),
              () => {},
            );
            if (serial % 3 === 0) await settle();
          }
          await settle();
          await restart();
        },
      ),
      { numRuns: 150 },
    );
  });
});
