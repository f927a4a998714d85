import { stat, utimes } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/kit/clock.ts";
import { fileError, LogBench, type LogFolder, type TestTail } from "../../../test/kit/log-tail.ts";
import { TestHost, testSettings } from "../../../test/kit/settings.ts";
import { RecordingSink } from "../../../test/kit/sink.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import type { StateMap, StorageExtension } from "../../kernel/storage.ts";
import { omniProxyLogReceiverFactory } from "./factory.ts";
import { StoredOffsets } from "./stored-offsets.ts";

/** A storage's map that outlives its users. */
class Kept implements StateMap {
  readonly entries = new Map<string, Uint8Array>();
  fault: (() => Error | undefined) | undefined;

  async set(key: string, value: Uint8Array | undefined): Promise<void> {
    const error = this.fault?.();
    if (error) throw error;
    if (value) this.entries.set(key, value);
    else this.entries.delete(key);
  }
  users = 0;
  async close(): Promise<void> {
    this.users--;
  }
}

let bench: LogBench;
let folder: LogFolder;
let kept: Kept;

beforeEach(() => {
  bench = new LogBench();
  folder = bench.folder;
  kept = new Kept();
});
afterEach(() => bench.end());

const stored = (): StoredOffsets =>
  new StoredOffsets({
    clock: new FakeClock(),
    stopped: new AbortController().signal,
    open: async () => kept,
    onFailure: () => {},
  });

/** A run of the receiver that has read everything; it is left as kill -9 leaves it. */
async function run(names: string | string[] = "error.log", section: Record<string, unknown> = {}): Promise<TestTail> {
  const tail = bench.tailOf(names, section, stored());
  await tail.start();
  await tail.poll();
  return tail;
}

const GONE =
  "a log file that was followed is gone: lines that were written to it since are not read. Keep rotated files as they are for a while (delaycompress)";

describe("OmniProxyLogReceiver with a storage", () => {
  it("goes on where the last run stopped", async () => {
    await folder.write("error.log", "");
    await run();
    await folder.append("error.log", "1\n2\nunfin");
    expect((await run()).lines).toEqual(["1", "2"]);
    await folder.append("error.log", "ished\n4\n");
    const third = await run();
    expect(third.lines).toEqual(["unfinished", "4"]);
    expect(third.records.map(({ attributes }) => attributes["log.file.position"])).toEqual([4, 15]);
    expect((await run()).lines).toEqual([]);
  });

  it("reads a file again whose lines were handed on and not acknowledged", async () => {
    await folder.write("error.log", "");
    await run();
    await folder.append("error.log", "1\n");
    const second = bench.tailOf("error.log", {}, stored());
    let answer = (): void => {};
    second.sink.fault = () =>
      new Promise((resolve) => {
        answer = resolve;
      });
    await second.start();
    const polling = second.poll();
    const third = await run();
    expect(third.lines).toEqual(["1"]);
    answer();
    await polling;
  });

  it.each([
    ["a name that include has", ["error.log", "error.log.1"]],
    ["a name that include has not", "error.log"],
  ])("reads what is left of a file that was renamed meanwhile to %s, before the new file", async (_, include) => {
    await folder.write("error.log", "1\n");
    await run(include, { start_at: "beginning" });
    await folder.append("error.log", "2\n");
    await folder.rename("error.log", "error.log.1");
    await folder.write("error.log", "3\n");
    const second = await run(include);
    expect(second.lines).toEqual(["2", "3"]);
    expect(second.records.map(({ attributes }) => attributes["log.file.path"])).toEqual(
      Array.from({ length: 2 }, () => folder.at("error.log")),
    );
    await folder.append("error.log.1", "late\n"); // a worker that has not reopened yet
    await second.poll();
    expect(second.lines).toEqual(["2", "3", "late"]);
    await second.pollUntilRetired();
    expect(second.files.handles).toBe(1);
    expect(kept.entries.size).toBe(Array.isArray(include) ? 2 : 1);
  });

  it("reads two rotations that it missed in their order", async () => {
    await folder.write("error.log", "");
    await run();
    const first = await run();
    await folder.append("error.log", "1\n");
    await folder.rename("error.log", "error.log.1");
    await folder.write("error.log", "");
    await first.poll();
    expect(first.lines).toEqual(["1"]);
    await folder.append("error.log.1", "2\n");
    await folder.append("error.log", "3\n");
    await folder.rename("error.log.1", "error.log.2");
    await folder.rename("error.log", "error.log.1");
    await utimes(folder.at("error.log.2"), 1000, 1000);
    await folder.write("error.log", "4\n");
    const second = await run();
    expect(second.lines).toEqual(["2", "3", "4"]);
    expect(second.warnings()).toEqual([]);
  });

  it("reads a file from its start that came while nobody looked, whatever start_at says", async () => {
    await folder.write("a.log", "old\n");
    expect((await run("*.log", { start_at: "end" })).lines).toEqual([]);
    await folder.write("b.log", "1\n");
    await folder.append("a.log", "2\n");
    expect((await run("*.log", { start_at: "end" })).lines.sort()).toEqual(["1", "2"]);
  });

  it("reads a file from its start that was truncated meanwhile", async () => {
    await folder.write("error.log", "a long first line\n");
    await run("error.log", { start_at: "beginning" });
    await folder.copyTruncate("error.log", "copy");
    await folder.append("error.log", "new\n");
    const second = await run();
    expect(second.lines).toEqual(["new"]);
    expect(await second.metric("omnishim_log_truncations")).toBe(1);
    expect((await run()).lines).toEqual([]);
  });

  it("does not take another file on the same inode for the one that it knew", async () => {
    await folder.write("error.log", "an old line\n");
    await run("*.log", { start_at: "beginning" });
    const { ino, dev } = await stat(folder.at("error.log"), { bigint: true });
    await folder.delete("error.log");
    await folder.write("other.log", "quite another content, longer than it was\n");
    const reused = await stat(folder.at("other.log"), { bigint: true });
    // Most file systems give the number away again at once; where this one did not, it is made to look so.
    const value = kept.entries.get(`${dev}:${ino}`) as Uint8Array;
    kept.entries.clear();
    kept.entries.set(`${reused.dev}:${reused.ino}`, value);
    const second = await run("*.log");
    expect(second.lines).toEqual(["quite another content, longer than it was"]);
    expect(second.records[0]?.attributes["log.file.path"]).toBe(folder.at("other.log"));
    expect(second.warnings()).toEqual([GONE]);
  });

  it("knows a file whose device has another number now", async () => {
    await folder.write("error.log", "1\n");
    await run("error.log", { start_at: "beginning" });
    const [[key, value]] = [...kept.entries] as [[string, Uint8Array]];
    kept.entries.clear();
    kept.entries.set(key.replace(/^\d+/, "4242"), value);
    await folder.append("error.log", "2\n");
    expect((await run()).lines).toEqual(["2"]);
    expect([...kept.entries.keys()]).toEqual([key]);
  });

  it("says that a file is gone, and forgets it", async () => {
    await folder.write("error.log", "1\n");
    await folder.write("access.log", "1\n");
    await run(["error.log", "access.log"], { start_at: "beginning" });
    await folder.delete("error.log");
    const second = await run(["error.log", "access.log"]);
    expect(second.said).toContainEqual({
      level: "warn",
      message: GONE,
      fields: { path: folder.at("error.log"), read_until: 2 },
    });
    expect(kept.entries.size).toBe(1);
    expect((await run(["error.log", "access.log"])).warnings()).not.toContain(GONE);
  });

  it("keeps a checkpoint whose folder cannot be read, for the next start", async () => {
    await folder.write("error.log", "1\n");
    await run("error.log", { start_at: "beginning" });
    const second = bench.tailOf("error.log", {}, stored());
    second.files.fault = () => {
      throw fileError("EACCES");
    };
    await second.start();
    await second.poll();
    expect(kept.entries.size).toBe(1);
    await folder.append("error.log", "2\n");
    expect((await run()).lines).toEqual(["2"]);
  });

  it("reads nothing more of a file while its checkpoint cannot be written", async () => {
    await folder.write("error.log", "");
    const clock = new FakeClock();
    const said: unknown[] = [];
    const offsets = new StoredOffsets({
      clock,
      stopped: new AbortController().signal,
      open: async () => kept,
      onFailure: (error) => said.push(error),
    });
    const tail = bench.tailOf("error.log", { max_batch_lines: 1 }, offsets);
    await tail.start();
    kept.fault = () => new ConsumeError("retryable", "full");
    await folder.append("error.log", "1\n2\n3\n");
    const polling = tail.poll();
    while (said.length < 3) await clock.advance(100);
    expect(tail.lines).toEqual(["1"]);
    kept.fault = undefined;
    while (tail.lines.length < 3) await clock.advance(100);
    await polling;
    expect(tail.lines).toEqual(["1", "2", "3"]);
  });

  it("starts and sees rotations while nothing can be written, and reads each line once it can", async () => {
    await folder.write("error.log", "1\n");
    const clock = new FakeClock();
    const said: unknown[] = [];
    const offsets = new StoredOffsets({
      clock,
      stopped: new AbortController().signal,
      open: async () => kept,
      onFailure: (error) => said.push(error),
    });
    kept.fault = () => new ConsumeError("retryable", "full");
    const tail = bench.tailOf("error.log", { start_at: "beginning" }, offsets);
    await tail.start();
    await folder.rename("error.log", "error.log.1");
    await folder.write("error.log", "2\n");
    await tail.receiver.look();
    await folder.rename("error.log", "error.log.2");
    await folder.write("error.log", "3\n");
    await tail.receiver.look();
    expect(said.length).toBeGreaterThan(0);
    expect(tail.lines).toEqual([]);
    kept.fault = undefined;
    await clock.advance(1000);
    await tail.poll();
    expect(tail.lines).toEqual(["1", "2", "3"]);
  });

  it("remembers the newest offset when an older one could not be written at first", async () => {
    const clock = new FakeClock();
    const offsets = new StoredOffsets({
      clock,
      stopped: new AbortController().signal,
      open: async () => kept,
      onFailure: () => {},
    });
    await offsets.load();
    const at = (offset: number) => ({ device: 1n, inode: 2n, head: new Uint8Array(1), path: "/a", offset });
    kept.fault = () => new ConsumeError("retryable", "full");
    const first = offsets.save(at(1));
    kept.fault = undefined;
    await offsets.save(at(2));
    await clock.advance(1000);
    await first;
    expect((await stored().load()).map(({ offset }) => offset)).toEqual([2]);
  });

  it("asks the extension that `storage` names for its map, and starts without what nobody understands", async () => {
    await folder.write("error.log", "1\n");
    const clients: unknown[] = [];
    kept.entries.set("nonsense", Buffer.from("{}"));
    kept.entries.set("1:2", Buffer.from("not json"));
    kept.entries.set("1:3", Buffer.from('{"path":"x"}'));
    const storage: Partial<StorageExtension> = {
      openLog: () => Promise.reject(new Error("not used")),
      openMap: async (client) => {
        clients.push(client);
        return kept;
      },
    };
    const configured = omniProxyLogReceiverFactory.configure({
      include: [folder.at("error.log")],
      start_at: "beginning",
      storage: "file_storage/logs",
    });
    expect(configured.extensions).toEqual([{ path: ["storage"], id: "file_storage/logs" }]);
    const settings = testSettings("omni_proxy_log/a", { clock: new FakeClock() });
    const sink = new RecordingSink<"logs">();
    const receiver = configured.create(settings)({ logs: sink });
    await receiver.start(new TestHost({ "file_storage/logs": storage as StorageExtension }));
    kept.users = 1;
    await receiver.shutdown(new AbortController().signal);
    expect(kept.users).toBe(0);
    expect(clients).toEqual([{ kind: "receiver", id: settings.id, purpose: "offsets" }]);
    expect(sink.items).toBe(1);
  });
});
