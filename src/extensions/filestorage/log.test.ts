import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakeClock, settle } from "../../../test/kit/clock.ts";
import { CrashDisk, errno } from "../../../test/kit/crash-disk.ts";
import { testSettings } from "../../../test/kit/settings.ts";
import type { StoredRecord } from "../../kernel/storage.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import { Budget } from "./budget.ts";
import { encodeFrame } from "./frame.ts";
import { SegmentLog } from "./log.ts";
import type { StorageParts } from "./parts.ts";
import { StorageTelemetry } from "./telemetry.ts";

interface Said {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

function surroundings(over: Partial<{ limit: number; segmentBytes: number; fsync: boolean }> = {}) {
  const said: Said[] = [];
  const say =
    (level: string) =>
    (message: string, fields = {}): void => {
      said.push({ level, message, fields });
    };
  const logger = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error"), with: () => logger };
  const metrics = createMetrics();
  const clock = new FakeClock();
  const budget = new Budget(over.limit ?? 1 << 30);
  const telemetry = new StorageTelemetry(testSettings("file_storage", { logger, metrics, clock }), budget);
  const parts: StorageParts = {
    budget,
    telemetry,
    clock,
    fsync: over.fsync ?? true,
    segmentBytes: over.segmentBytes ?? 1 << 20,
    savers: new Set(),
  };
  return { parts, said, budget, metrics, clock };
}

const text = (value: string): Uint8Array[] => [Buffer.from(value)];

async function leftIn(log: SegmentLog): Promise<string[]> {
  const left: string[] = [];
  for (const record of log.left) left.push(`${(await log.read(record))?.toString()}`);
  return left;
}

const logFiles = (disk: CrashDisk): string[] => disk.names.filter((name) => name.endsWith(".log"));

describe("SegmentLog", () => {
  it("gives records back after a kill, in order, with their tags and without those that were done", async () => {
    const disk = new CrashDisk();
    const { parts } = surroundings();
    const log = await SegmentLog.open("c", disk, parts);
    const records: StoredRecord[] = [];
    for (const [index, word] of ["a", "b", "c", "d"].entries()) records.push(await log.append(text(word), index));
    log.done(records[1] as StoredRecord);
    await settle();
    const again = await SegmentLog.open("c", disk.kill(), surroundings().parts);
    expect(await leftIn(again)).toEqual(["a", "c", "d"]);
    expect(again.left.map((record) => [record.tag, record.size])).toEqual([
      [0, 1],
      [2, 1],
      [3, 1],
    ]);
  });

  it("append resolves only after the sync that has the record, and one sync serves all that came meanwhile", async () => {
    const disk = new CrashDisk();
    let syncs = 0;
    disk.fault = (call) => {
      if (call === "sync") syncs++;
      return undefined;
    };
    const log = await SegmentLog.open("c", disk, surroundings().parts);
    await log.append(text("first"), 0);
    syncs = 0;
    await Promise.all(Array.from({ length: 50 }, (_, index) => log.append(text(String(index)), index)));
    expect(syncs).toBe(1);
    // Nothing that was not synced survives here.
    expect(
      (
        await SegmentLog.open(
          "c",
          disk.crash(() => 0),
          surroundings().parts,
        )
      ).left,
    ).toHaveLength(51);
  });

  it("loses nothing that was acknowledged and not done, whatever a power failure does to the rest", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            {
              weight: 6,
              arbitrary: fc.record({ op: fc.constant("append" as const), size: fc.integer({ min: 0, max: 300 }) }),
            },
            { weight: 4, arbitrary: fc.record({ op: fc.constant("done" as const), pick: fc.nat() }) },
            { weight: 1, arbitrary: fc.constant({ op: "settle" as const }) },
            { weight: 1, arbitrary: fc.constant({ op: "crash" as const }) },
          ),
          { maxLength: 60 },
        ),
        fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        async (operations, randoms) => {
          const random = (): number => randoms.next().value as number;
          let disk = new CrashDisk();
          let log = await SegmentLog.open("c", disk, surroundings({ segmentBytes: 700 }).parts);
          /** Payload -> its record in this run; in order of acknowledgement. */
          const kept = new Map<string, StoredRecord>();
          const tried = new Set<string>();
          let serial = 0;
          const restart = async (): Promise<void> => {
            disk = disk.crash(random);
            const env = surroundings({ segmentBytes: 700 });
            log = await SegmentLog.open("c", disk, env.parts);
            expect(env.said.filter(({ level }) => level === "error").length).toBeLessThanOrEqual(kept.size + serial);
            const found = new Map<string, StoredRecord>();
            for (const record of log.left) found.set(`${(await log.read(record))?.toString()}`, record);
            expect([...kept.keys()].filter((payload) => !found.has(payload))).toEqual([]);
            expect([...found.keys()].filter((payload) => !tried.has(payload))).toEqual([]);
            expect([...found.keys()].filter((payload) => kept.has(payload))).toEqual([...kept.keys()]);
            kept.clear();
            for (const [payload, record] of found) kept.set(payload, record);
          };
          for (const operation of operations) {
            if (operation.op === "append") {
              const payload = `${serial++}:${"x".repeat(operation.size)}`;
              tried.add(payload);
              void log.append(text(payload), serial).then(
                (record) => kept.set(payload, record),
                () => {},
              );
            } else if (operation.op === "done") {
              const chosen = [...kept][operation.pick % Math.max(1, kept.size)];
              if (!chosen) continue;
              log.done(chosen[1]);
              kept.delete(chosen[0]);
            } else if (operation.op === "settle") await settle();
            else await restart();
          }
          await settle();
          await restart();
        },
      ),
      { numRuns: 150 },
    );
  });

  it("cuts off a torn tail, says so once, and goes on", async () => {
    const disk = new CrashDisk();
    const log = await SegmentLog.open("c", disk, surroundings().parts);
    for (const word of ["one", "two", "three"]) await log.append(text(word), 1);
    const [file] = logFiles(disk) as [string];
    const torn = disk.kill();
    torn.damage(file, (bytes) => bytes.subarray(0, bytes.length - 2));
    const env = surroundings();
    const again = await SegmentLog.open("c", torn, env.parts);
    expect(await leftIn(again)).toEqual(["one", "two"]);
    expect(env.said.map(({ level, message }) => [level, message])).toEqual([
      ["info", expect.stringContaining("Cut off what was being written")],
    ]);
    await again.append(text("four"), 1);
    const third = surroundings();
    expect(await leftIn(await SegmentLog.open("c", torn.kill(), third.parts))).toEqual(["one", "two", "four"]);
    expect(third.said).toEqual([]);
  });

  it("sets a damaged record in the middle aside, counts it, says it once, and keeps the others and what was done", async () => {
    const disk = new CrashDisk();
    const log = await SegmentLog.open("c", disk, surroundings().parts);
    const records: StoredRecord[] = [];
    for (const word of ["one", "TWO", "three", "four"]) records.push(await log.append(text(word), 1));
    log.done(records[2] as StoredRecord);
    await settle();
    const [file] = logFiles(disk) as [string];
    const bad = disk.kill();
    bad.damage(file, (bytes) => {
      bytes[bytes.indexOf("TWO")] = 0;
      return bytes;
    });
    const env = surroundings();
    const again = await SegmentLog.open("c", bad, env.parts);
    expect(await leftIn(again)).toEqual(["one", "four"]);
    expect(env.said).toMatchObject([
      { level: "error", fields: { client: "c", set_aside: `disk/${file}.corrupt`, bytes: 23 } },
    ]);
    expect(await env.metrics.text()).toContain('omnishim_storage_damaged_bytes{storage="file_storage",client="c"} 23');
    expect((await bad.read(`${file}.corrupt`))?.includes("WO")).toBe(true);
    const third = surroundings();
    expect(await leftIn(await SegmentLog.open("c", bad.kill(), third.parts))).toEqual(["one", "four"]);
    expect(third.said).toEqual([]);
  });

  it("finds all whole records behind any damage", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 399 }), fc.uint8Array({ minLength: 1, maxLength: 40 }), async (at, noise) => {
        const disk = new CrashDisk();
        const log = await SegmentLog.open("c", disk, surroundings().parts);
        const words = Array.from({ length: 16 }, (_, index) => `word ${index}`);
        for (const word of words) await log.append(text(word), 1);
        const [file] = logFiles(disk) as [string];
        const bad = disk.kill();
        bad.damage(file, (bytes) => {
          bytes.set(noise.subarray(0, bytes.length - at), at);
          return bytes;
        });
        const left = await leftIn(await SegmentLog.open("c", bad, surroundings().parts));
        expect(words).toEqual(expect.arrayContaining(left));
        // A frame is 26 bytes here, so noise touches at most three records.
        expect(left.length).toBeGreaterThanOrEqual(words.length - 3);
      }),
      { numRuns: 200 },
    );
  });

  it("is not fooled by a payload that holds a record of its own", async () => {
    const disk = new CrashDisk();
    const log = await SegmentLog.open("c", disk, surroundings().parts);
    const inner = Buffer.from("inner");
    await log.append([encodeFrame(0, [inner], 7), inner], 1);
    await log.append(text("next"), 1);
    const [file] = logFiles(disk) as [string];
    const bad = disk.kill();
    bad.damage(file, (bytes) => bytes.fill(0, 16, 20)); // the marker of the first record
    expect(await leftIn(await SegmentLog.open("c", bad, surroundings().parts))).toEqual(["next"]);
  });

  it("open refuses a file of another format and says what to do", async () => {
    const disk = new CrashDisk();
    const log = await SegmentLog.open("c", disk, surroundings().parts);
    await log.append(text("one"), 1);
    const [file] = logFiles(disk) as [string];
    const other = disk.kill();
    // A whole header of format 2, as a later version would write it.
    other.damage(file, (bytes) => {
      Buffer.from("4f4d4e495348494d02000000a5f8cc58", "hex").copy(bytes);
      return bytes;
    });
    await expect(SegmentLog.open("c", other, surroundings().parts)).rejects.toThrow(
      `disk/${file} has format 2, this program reads format 1: start the version that wrote it until it has sent everything, or move the folder away`,
    );
  });

  it("removes a segment when all its records are done, whichever order, and not before", async () => {
    const disk = new CrashDisk();
    const env = surroundings({ segmentBytes: 100 });
    const log = await SegmentLog.open("c", disk, env.parts);
    const records: StoredRecord[] = [];
    for (let index = 0; index < 12; index++) records.push(await log.append(text("x".repeat(40)), index));
    expect(logFiles(disk)).toHaveLength(6);
    for (const record of records.slice(3).reverse()) log.done(record);
    await settle();
    expect(logFiles(disk)).toHaveLength(2);
    for (const record of records.slice(0, 3)) log.done(record);
    await log.close();
    expect(disk.names).toEqual([]);
    expect(env.budget.used).toBe(0);
  });

  it("append refuses with RESOURCE_EXHAUSTED and a hint of at most 3 s when max_size_mib is used up, and takes again when there is room", async () => {
    const disk = new CrashDisk();
    const env = surroundings({ limit: 1000, segmentBytes: 200 });
    const log = await SegmentLog.open("c", disk, env.parts);
    const records: StoredRecord[] = [];
    const refusal = await (async () => {
      for (;;) records.push(await log.append(text("x".repeat(100)), 1));
    })().catch((error: unknown) => error);
    expect(refusal).toMatchObject({ disposition: "retryable", grpcCode: 8 });
    expect((refusal as { retryAfterMs: number }).retryAfterMs).toBeLessThanOrEqual(3000);
    expect(disk.used).toBeLessThanOrEqual(1000);
    for (const record of records.splice(0)) log.done(record);
    await settle();
    await log.append(text("x".repeat(100)), 1);
  });

  it("append refuses when the disk is full, leaves nothing half written, and works again when there is space", async () => {
    const disk = new CrashDisk();
    const env = surroundings();
    const log = await SegmentLog.open("c", disk, env.parts);
    await log.append(text("before"), 1);
    disk.capacity = disk.used + 30;
    await expect(log.append(text("x".repeat(100)), 1)).rejects.toMatchObject({
      disposition: "retryable",
      grpcCode: 8,
      message: expect.stringContaining("no space left for disk"),
    });
    await expect(log.append(text("x".repeat(100)), 1)).rejects.toMatchObject({ grpcCode: 8 });
    expect(env.said.filter(({ level }) => level === "error")).toHaveLength(1);
    disk.capacity = Number.POSITIVE_INFINITY;
    await log.append(text("after"), 1);
    expect(env.said.at(-1)?.message).toBe("The storage can write again");
    const again = surroundings();
    expect(await leftIn(await SegmentLog.open("c", disk.kill(), again.parts))).toEqual(["before", "after"]);
    expect(again.said).toEqual([]);
  });

  it("append gives back what is done, of its own and of others' logs, when the disk is full", async () => {
    const [disk, others] = [new CrashDisk(), new CrashDisk()];
    const env = surroundings();
    const log = await SegmentLog.open("c", disk, env.parts);
    const other = await SegmentLog.open("d", others, env.parts);
    for (const one of [log, other]) one.done(await one.append(text("x".repeat(1000)), 1));
    await settle();
    expect([disk.used, others.used].every((used) => used > 1000)).toBe(true); // kept to be written on
    disk.capacity = disk.used + 30;
    await expect(log.append(text("y".repeat(1000)), 1)).rejects.toMatchObject({ grpcCode: 8 });
    await settle();
    expect([disk.used, others.used]).toEqual([0, 0]);
    await log.append(text("y".repeat(1000)), 1);
  });

  it("append leaves a part of the disk free, and says that the disk is full, where it holds less than max_size_mib", async () => {
    const env = surroundings({ limit: 1 << 30 });
    const log = await SegmentLog.open("c", new CrashDisk(), env.parts);
    env.budget.measured(10_000);
    const fill = async (): Promise<never> => {
      for (;;) await log.append(text("x".repeat(500)), 1);
    };
    await expect(fill()).rejects.toMatchObject({
      disposition: "retryable",
      grpcCode: 8,
      message: expect.stringContaining("no space left: the disk holds"),
    });
    expect(env.budget.used).toBeGreaterThan(8500);
    expect(env.budget.used).toBeLessThan(9400);
    env.budget.measured(10_000);
    await log.append(text("x".repeat(500)), 1);
  });

  it("append seals what it wrote when the disk is full, so that it goes when it is done whatever comes behind it", async () => {
    const disk = new CrashDisk();
    const log = await SegmentLog.open("c", disk, surroundings({ segmentBytes: 16_000 }).parts);
    const first = await log.append(text("x".repeat(1000)), 1);
    disk.capacity = disk.used + 30;
    await expect(log.append(text("y".repeat(1000)), 1)).rejects.toMatchObject({ grpcCode: 8 });
    disk.capacity = Number.POSITIVE_INFINITY;
    await log.append(text("z"), 1);
    log.done(first);
    await settle();
    expect(disk.used).toBeLessThan(100);
  });

  it("append never writes again into a file whose sync failed", async () => {
    const disk = new CrashDisk();
    const env = surroundings();
    const log = await SegmentLog.open("c", disk, env.parts);
    await log.append(text("before"), 1);
    const [first] = logFiles(disk) as [string];
    disk.fault = (call, name) => (call === "sync" && name === first ? errno("EIO") : undefined);
    await expect(log.append(text("lost"), 1)).rejects.toMatchObject({ disposition: "retryable", grpcCode: 14 });
    await log.append(text("after"), 1);
    expect(logFiles(disk)).toHaveLength(2);
    expect(await leftIn(await SegmentLog.open("c", disk.kill(), surroundings().parts))).toEqual(["before", "after"]);
  });

  it("close refuses later records and keeps what is not done", async () => {
    const disk = new CrashDisk();
    const log = await SegmentLog.open("c", disk, surroundings().parts);
    const first = await log.append(text("one"), 1);
    await log.append(text("two"), 1);
    log.done(first);
    await log.close();
    await expect(log.append(text("three"), 1)).rejects.toMatchObject({ disposition: "retryable" });
    expect(await leftIn(await SegmentLog.open("c", disk, surroundings().parts))).toEqual(["two"]);
  });
});
