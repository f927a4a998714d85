import { type FileHandle, mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/kit/clock.ts";
import { FileWriter } from "./file-writer.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "file-writer-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A disk that is full when told: half of a write gets there. */
class Disk {
  isFull = false;
  writes = 0;
  readonly open = async (...args: Parameters<typeof open>): Promise<FileHandle> => {
    const handle = await open(...args);
    const append = handle.appendFile.bind(handle);
    handle.appendFile = async (data, options) => {
      this.writes++;
      if (!this.isFull) return append(data, options);
      await append((data as Buffer).subarray(0, (data as Buffer).length / 2), options);
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    };
    return handle;
  };
}

async function opened(disk: Disk): Promise<{ writer: FileWriter; path: string }> {
  const path = join(folder, "out");
  const writer = new FileWriter({
    path,
    append: false,
    createDirectory: false,
    syncEveryMs: 1000,
    rotation: undefined,
    clock: new FakeClock(),
    onTrouble: (what, error) => expect.fail(`${what}: ${error}`),
    openFile: disk.open,
  });
  await writer.open();
  return { writer, path };
}

describe("FileWriter", () => {
  it("leaves no part of a record behind when a write fails half-way, and goes on when there is room", async () => {
    const disk = new Disk();
    const { writer, path } = await opened(disk);
    await writer.write(Buffer.from("one\n"));
    disk.isFull = true;
    await expect(writer.write(Buffer.from("two\n"))).rejects.toThrow("ENOSPC");
    expect(await readFile(path, "utf8")).toBe("one\n");
    disk.isFull = false;
    await writer.write(Buffer.from("three\n"));
    await writer.close();
    expect(await readFile(path, "utf8")).toBe("one\nthree\n");
  });

  it("writes together what came during a write, in order", async () => {
    const disk = new Disk();
    const { writer, path } = await opened(disk);
    await Promise.all(Array.from({ length: 100 }, (_, at) => writer.write(Buffer.from(`${at}\n`))));
    await writer.close();
    expect(disk.writes).toBe(2);
    expect(await readFile(path, "utf8")).toBe(Array.from({ length: 100 }, (_, at) => `${at}\n`).join(""));
  });

  it("close writes what is pending, and is idempotent", async () => {
    const { writer, path } = await opened(new Disk());
    const pending = writer.write(Buffer.from("last\n"));
    await Promise.all([writer.close(), pending]);
    await writer.close();
    expect(await readFile(path, "utf8")).toBe("last\n");
    await expect(writer.write(Buffer.from("late\n"))).rejects.toThrow("the file is not open");
  });
});
