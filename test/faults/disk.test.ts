import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { type ConfigChanges, merging } from "./configs.ts";
import { expectNothingLost, pass, runScenario } from "./scenario.ts";

const DISK_MIB = 8;

/** A file system of `DISK_MIB`, or why there is none. */
function smallDisk(): { path: string; remove(): void } | string {
  const path = mkdtempSync(join(tmpdir(), "omnishim-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_MIB}m`, "tmpfs", path], { stdio: "pipe" });
  } catch (error) {
    rmSync(path, { recursive: true });
    return `no tmpfs can be mounted here: ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`;
  }
  return {
    path,
    remove: () => {
      execFileSync("umount", [path]);
      rmSync(path, { recursive: true });
    },
  };
}

/**
 * The backend is away until the disk is full and senders are refused; then the program is killed and started on the full
 * disk; then the backend is back, and what was acknowledged must arrive, and what comes then must be taken.
 */
async function fill(fault: string, changes: ConfigChanges, storage?: string): Promise<void> {
  let port = 0;
  const outcome = await runScenario({
    fault,
    log: true,
    // The journal of open requests keeps its records for 15 s.
    stillMs: 30_000,
    config: (endpoint) => merging(endpoint, changes),
    ...(storage === undefined ? {} : { storage }),
    async disturb(stage) {
      const { sink, victim, load } = stage;
      port = sink.port;
      await sink.close();
      while (!(await victim.metric("omnishim_storage_refused_writes"))) await pass(100);
      while (load.reasons.some((reasons) => reasons.size === 0)) await pass(100);
      await victim.kill();
      await victim.start();
      await pass(500);
      stage.sink = await OtlpSink.start({ port });
      const { acknowledged } = load.figures;
      while (load.figures.acknowledged < acknowledged + 2000) await pass(100);
    },
  });
  for (const reasons of outcome.reasons) expect([...reasons.keys()].join()).toMatch(/RESOURCE_EXHAUSTED|HTTP 429/);
  expectNothingLost(outcome, 1000);
}

describe("a full disk", () => {
  it(`refuses senders and loses nothing when max_size_mib is used up`, () =>
    fill("max_size_mib used up, kill -9, backend back", { storage: `max_size_mib: ${DISK_MIB}` }));

  it("refuses senders and loses nothing when the file system is full", async (test) => {
    const disk = smallDisk();
    if (typeof disk === "string") {
      console.log(`skipped: ${disk}`);
      return test.skip(disk);
    }
    try {
      expect(statfsSync(disk.path).blocks * statfsSync(disk.path).bsize).toBe(DISK_MIB * 1024 * 1024);
      await fill("file system full, kill -9, backend back", {}, join(disk.path, "storage"));
    } finally {
      disk.remove();
    }
  });
});
