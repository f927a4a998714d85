import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../test/kit/clock.ts";
import { namesIn, spansNamed } from "../../test/kit/named-spans.ts";
import type { ComponentId } from "../kernel/api.ts";
import { DeadLetterFolder, type WriteFile } from "./dead-letter.ts";
import { ContentError, type FailedPart } from "./divide.ts";

const jaeger: ComponentId = { type: "otlp_grpc", name: "jaeger" };
const MIB = 1024 * 1024;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "dead-letter-"));
});
afterEach(() => rm(directory, { recursive: true }));

const refused = (message: string, ...names: string[]): FailedPart => ({
  failure: new ContentError(message, { grpcCode: 3 }),
  part: spansNamed(...names),
});

async function opened(clock = new FakeClock(), write?: WriteFile): Promise<DeadLetterFolder> {
  const folder = new DeadLetterFolder({ directory, max_size_mib: 1 }, jaeger, clock, write);
  await folder.open();
  return folder;
}

describe("DeadLetterFolder", () => {
  it("keeps parts as one request that can be sent again, with what the peer said beside it", async () => {
    const folder = await opened();
    const { file, items } = await folder.keep([refused("no name", "a"), refused("no id", "b"), refused("no id", "c")]);
    expect(items).toBe(3);
    expect(namesIn(await readFile(file))).toEqual(["a", "b", "c"]);
    expect(JSON.parse(await readFile(file.replace(/pb$/, "json"), "utf8"))).toEqual({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      exporter: "otlp_grpc/jaeger",
      signal: "traces",
      items: 3,
      refused: [
        { message: "no name", grpc_code: 3, items: 1 },
        { message: "no id", grpc_code: 3, items: 2 },
      ],
    });
  });

  it("lets nobody else read folder and files", async () => {
    const folder = await opened();
    const { file } = await folder.keep([refused("bad", "a")]);
    expect((await stat(folder.path)).mode & 0o777).toBe(0o700);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it("gives every letter a name of its own, also at the same moment", async () => {
    const folder = await opened();
    const files = await Promise.all([1, 2, 3].map(() => folder.keep([refused("bad", "a")])));
    expect(new Set(files.map(({ file }) => file)).size).toBe(3);
    expect(await readdir(folder.path)).toHaveLength(6);
  });

  it("keeps nothing beyond max_size_mib, says so, and goes on ten seconds after somebody made room", async () => {
    const clock = new FakeClock();
    const folder = await opened(clock);
    const big = refused("bad", "x".repeat(MIB / 2));
    const { file } = await folder.keep([big]);
    await expect(folder.keep([big])).rejects.toThrow(
      `${folder.path} holds 1 of 1 MiB (setting: dead_letter::max_size_mib); send again or remove what is in it`,
    );
    expect(await readdir(folder.path)).toHaveLength(2);
    await rm(file);
    await expect(folder.keep([big])).rejects.toThrow("max_size_mib");
    await clock.advance(10_000);
    await folder.keep([big]);
  });

  it("counts what an earlier run left", async () => {
    const first = await opened();
    const big = refused("bad", "x".repeat(MIB / 2));
    await first.keep([big]);
    await expect((await opened()).keep([big])).rejects.toThrow("max_size_mib");
  });

  it("bounds the number of files too, by what a file takes at least", async () => {
    const folder = await opened();
    let kept = 0;
    await expect(
      (async () => {
        for (; kept < 1000; kept++) await folder.keep([refused("bad", "a")]);
      })(),
    ).rejects.toThrow("max_size_mib");
    expect(kept).toBe(128);
  });

  it("leaves no half letter behind when the disk is full, and keeps the next", async () => {
    let isFull = true;
    const folder = await opened(new FakeClock(), async (path, bytes) => {
      await writeFile(path, isFull ? bytes.subarray(0, 1) : bytes);
      if (isFull && path.includes(".pb")) throw Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC" });
    });
    await expect(folder.keep([refused("bad", "a")])).rejects.toThrow("ENOSPC");
    expect(await readdir(folder.path)).toEqual([]);
    isFull = false;
    await folder.keep([refused("bad", "a")]);
    expect(await readdir(folder.path)).toHaveLength(2);
  });

  it("removes at start what a crash left unfinished, and nothing else", async () => {
    const first = await opened();
    const { file } = await first.keep([refused("bad", "a")]);
    await writeFile(join(first.path, "traces-x.pb.tmp"), "half");
    const again = await opened();
    expect((await readdir(again.path)).sort()).toHaveLength(2);
    expect(namesIn(await readFile(file))).toEqual(["a"]);
  });

  it("stops the start when the folder cannot be used, and says what to do", async () => {
    await mkdir(join(directory, "x"));
    await writeFile(join(directory, "x", "exporter.otlp_grpc.jaeger"), "a file");
    const folder = new DeadLetterFolder({ directory: join(directory, "x"), max_size_mib: 1 }, jaeger, new FakeClock());
    await expect(folder.open()).rejects.toThrow(
      /^dead_letter::directory: .*exporter\.otlp_grpc\.jaeger cannot be used \(EEXIST.*make it writable/,
    );
  });
});
