import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readCapture } from "../../../test/kit/captures.ts";
import { settle } from "../../../test/kit/clock.ts";
import { fileError, LogBench, type LogFolder } from "../../../test/kit/log-tail.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { MemoryOffsets } from "./offsets.ts";

let bench: LogBench;
let folder: LogFolder;

beforeEach(() => {
  bench = new LogBench();
  folder = bench.folder;
});
afterEach(() => bench.end());

describe("OmniProxyLogReceiver where to begin", () => {
  it("skips what is there at start-up and reads what is written afterwards", async () => {
    await folder.write("error.log", "old\n");
    const tail = await bench.started("error.log");
    await folder.append("error.log", "new\n");
    await tail.poll();
    expect(tail.lines).toEqual(["new"]);
    expect(tail.records[0]?.attributes["log.file.position"]).toBe(4);
  });

  it("gives the line that was unfinished at start-up whole", async () => {
    await folder.write("error.log", "old\nhalf a ");
    const tail = await bench.started("error.log");
    await folder.append("error.log", "line\n");
    await tail.poll();
    expect(tail.lines).toEqual(["half a line"]);
  });

  it("gives an unfinished first line whole", async () => {
    await folder.write("error.log", "first ");
    const tail = await bench.started("error.log");
    await folder.append("error.log", "line\n");
    await tail.poll();
    expect(tail.lines).toEqual(["first line"]);
  });

  it("looks back over several blocks for the start of an unfinished line, but no further than a line may be long", async () => {
    await folder.write("long.log", `x\n${"y".repeat(200_000)}`);
    await folder.write("longer.log", `x\n${"z".repeat(400_000)}`);
    const tail = await bench.started(["long.log", "longer.log"], { max_log_size: 300_000 });
    await folder.append("long.log", "\n");
    await folder.append("longer.log", "end\n");
    await tail.poll();
    expect(tail.lines.map((line) => line.length).sort((a, b) => a - b)).toEqual([3, 200_000]);
    const [cut] = tail.records.filter(({ body }) => body.toString() === "end");
    expect(cut?.attributes["omni.log.continued"]).toBe(true);
  });

  it("reads what is there at start-up when start_at is beginning", async () => {
    await folder.write("error.log", "one\ntwo\n");
    const tail = await bench.started("error.log", { start_at: "beginning" });
    await tail.poll();
    expect(tail.lines).toEqual(["one", "two"]);
  });

  it("reads a file that appears later from its beginning, also with start_at end", async () => {
    const tail = await bench.started(["error.log", "*.access"]);
    expect(tail.warnings()).toEqual(["no log file is there yet: it is followed from its first line once it appears"]);
    await tail.poll();
    await folder.write("error.log", "one\n");
    await folder.write("a.access", "two\n");
    await tail.poll();
    expect(tail.lines.sort()).toEqual(["one", "two"]);
  });

  it("names each plain path that is not there when other files are", async () => {
    await folder.write("access.log", "");
    const tail = await bench.started(["access.log", "eror.log", "*.none"]);
    expect(tail.warnings()).toEqual([
      "this log file is not there yet: it is followed from its first line once it appears",
    ]);
    await folder.write("eror.log", "one\n");
    await tail.poll();
    expect(tail.lines).toEqual(["one"]);
  });

  it("goes on at the checkpoint of an earlier run, also where the file was renamed meanwhile", async () => {
    const offsets = new MemoryOffsets();
    await folder.write("error.log", "one\n");
    const first = bench.tailOf("error.log*", { start_at: "beginning" }, offsets);
    await first.start();
    await first.poll();
    await first.stop();
    await folder.append("error.log", "two\n");
    await folder.rename("error.log", "error.log.1");
    await folder.write("error.log", "three\n");
    const second = bench.tailOf("error.log*", { start_at: "beginning" }, offsets);
    await second.start();
    await second.poll();
    expect(first.lines).toEqual(["one"]);
    expect(second.lines.sort()).toEqual(["three", "two"]);
    const paths = second.records.map(({ attributes }) => attributes["log.file.path"]);
    expect(paths).toEqual([folder.at("error.log"), folder.at("error.log")]);
  });

  it("does not go on at a checkpoint of another file that had the same inode", async () => {
    const offsets = new MemoryOffsets();
    await folder.write("error.log", "one\ntwo\n");
    const first = bench.tailOf("error.log", { start_at: "beginning" }, offsets);
    await first.start();
    await first.poll();
    await first.stop();
    await folder.write("error.log", "other content\nmore\n"); // truncates: the inode stays
    const second = bench.tailOf("error.log", {}, offsets);
    await second.start();
    await second.poll();
    expect(second.lines).toEqual(["other content", "more"]);
  });
});

describe("OmniProxyLogReceiver lines", () => {
  it("waits for the end of an unfinished line", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log");
    for (const piece of ["a", "b", "c\nd"]) {
      await folder.append("error.log", piece);
      await tail.poll();
    }
    expect(tail.lines).toEqual(["abc"]);
    expect(await tail.metric("omnishim_log_lag_bytes")).toBe(1);
  });

  it("gives NUL bytes and broken UTF-8 as they are", async () => {
    const lines = [Buffer.from("Free Req:3, at:\0"), Buffer.from([0xff, 0x00, 0xc3]), Buffer.from("id-ü中")];
    await folder.write("error.log", Buffer.concat(lines.flatMap((line) => [line, Buffer.of(10)])));
    const tail = await bench.started("error.log", { start_at: "beginning" });
    await tail.poll();
    expect(tail.records.map(({ body }) => body)).toEqual(lines);
    expect(tail.records.map(({ kind }) => kind)).toEqual(["string", "bytes", "string"]);
  });

  it("cuts an over-long line into pieces that together are the line", async () => {
    const long = "0123456789".repeat(100);
    await folder.write("error.log", `a\n${long}\nb\n`);
    const tail = await bench.started("error.log", { start_at: "beginning", max_log_size: 300, max_batch_bytes: 64 });
    await tail.poll();
    expect(tail.lines.map((line) => line.length)).toEqual([1, 300, 300, 300, 100, 1]);
    expect(tail.lines.slice(1, 5).join("")).toBe(long);
    expect(tail.records.map(({ attributes }) => attributes["omni.log.continued"] === true)).toEqual(
      [false, false, true, true, true, false], // also across batches
    );
  });

  it("reads a line that is longer than a batch but not over-long whole", async () => {
    await folder.write("error.log", `a\n${"x".repeat(5000)}\nb\n`);
    const tail = await bench.started("error.log", { start_at: "beginning", max_batch_bytes: 64 });
    await tail.poll();
    expect(tail.lines.map((line) => line.length)).toEqual([1, 5000, 1]);
  });

  it("bounds a batch in lines and bytes", async () => {
    await folder.write("error.log", "x\n".repeat(100) + "y".repeat(60).concat("\n").repeat(10));
    const tail = await bench.started("error.log", { start_at: "beginning", max_batch_lines: 30, max_batch_bytes: 200 });
    await tail.poll();
    expect(tail.sink.items).toBe(110);
    const sizes = tail.sink.batches.map(({ items }) => items);
    expect(sizes.slice(0, 3)).toEqual([30, 30, 30]);
    expect(Math.max(...sizes.slice(4))).toBe(3);
  });

  it("gives every line of a real error.log byte for byte", async () => {
    const { errorLog } = readCapture("proxy-mock/seq-odd");
    await folder.write("error.log", errorLog);
    const tail = await bench.started("error.log", { start_at: "beginning", max_batch_bytes: 4096 });
    await tail.poll();
    const joined = Buffer.concat(tail.records.flatMap(({ body }) => [body, Buffer.of(10)]));
    expect(joined.equals(errorLog)).toBe(true);
    expect(errorLog.includes(0)).toBe(true);
  });
});

describe("OmniProxyLogReceiver trouble", () => {
  it("says once a minute what to do about a file that it may not read, and reads all of it when it may", async () => {
    await folder.write("error.log", "");
    const tail = bench.tailOf("error.log");
    tail.files.fault = (call) => {
      if (call === "open") throw fileError("EACCES");
    };
    await tail.start();
    await folder.append("error.log", "one\n");
    await tail.poll();
    await tail.poll();
    const said = (): string[] => tail.warnings().filter((message) => message.includes("let user id"));
    expect(said()).toHaveLength(1);
    expect(tail.host.statuses).toMatchObject([{ level: "recoverable" }]);
    await tail.clock.advance(61_000);
    await tail.poll();
    expect(said()).toHaveLength(2);
    tail.files.fault = undefined;
    await tail.poll();
    expect(tail.lines).toEqual(["one"]);
    expect(tail.host.statuses.at(-1)).toEqual({ level: "ok" });
  });

  it("keeps reading what it holds open when the folder may not be entered any more", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log");
    await tail.poll();
    tail.files.fault = (call) => {
      if (call === "facts") throw fileError("EACCES");
    };
    await folder.append("error.log", "one\n");
    await tail.poll();
    expect(tail.lines).toEqual(["one"]);
    expect(tail.host.statuses.at(-1)).toMatchObject({ level: "recoverable" });
    tail.files.fault = undefined;
    await tail.poll();
    expect(tail.host.statuses.at(-1)).toEqual({ level: "ok" });
  });

  it("tries again after a read error without losing or repeating a line", async () => {
    await folder.write("error.log", "one\n");
    const tail = await bench.started("error.log", { start_at: "beginning" });
    await tail.poll();
    await folder.append("error.log", "two\n");
    tail.files.fault = (call) => {
      if (call === "read") throw fileError("EIO");
    };
    await tail.poll();
    expect(tail.lines).toEqual(["one"]);
    tail.files.fault = undefined;
    await tail.poll();
    expect(tail.lines).toEqual(["one", "two"]);
    expect(tail.host.statuses.map(({ level }) => level)).toEqual(["recoverable", "ok"]);
  });

  it("lets a file that cannot be read not hold up another", async () => {
    await folder.write("bad.log", "x\n");
    await folder.write("good.log", "y\n");
    const tail = bench.tailOf(["bad.log", "good.log"], { start_at: "beginning" });
    tail.files.fault = (call, path) => {
      if (call === "read" && path.endsWith("bad.log")) throw fileError("EIO");
    };
    await tail.start();
    await tail.poll();
    expect(tail.lines).toEqual(["y"]);
  });

  it("leaves folders and compressed files alone and says so", async () => {
    await folder.write("sub.log/x", "");
    await folder.write("error.log.2.gz", gzipSync("packed\n"));
    await folder.write("error.log", "plain\n");
    const tail = await bench.started(["sub.log", "error.log*"], { start_at: "beginning" });
    await tail.poll();
    await tail.poll();
    expect(tail.lines).toEqual(["plain"]);
    expect(tail.warnings()).toContain("not a regular file: it is not read as a log");
    expect(tail.said.map(({ message }) => message)).toContain("the file is compressed (gzip) and is not read as a log");
    expect(tail.files.handles).toBe(1);
  });

  it("leaves out what is excluded", async () => {
    await folder.write("a.log", "a\n");
    await folder.write("b.log", "b\n");
    const tail = await bench.started("*.log", { start_at: "beginning", exclude: [folder.at("b*")] });
    await tail.poll();
    expect(tail.lines).toEqual(["a"]);
  });
});

describe("OmniProxyLogReceiver many files", () => {
  it("holds no more files open than max_concurrent_files and still reads them all", async () => {
    const names = Array.from({ length: 12 }, (_, i) => `w${i}.log`);
    for (const name of names) await folder.write(name, "old\n");
    const tail = await bench.started("*.log", { max_concurrent_files: 3 });
    await tail.poll();
    for (const turn of [1, 2]) {
      for (const name of names) await folder.append(name, `${name} ${turn}\n`);
      for (let round = 0; round < 6; round++) {
        await tail.poll();
        expect(tail.files.handles).toBeLessThanOrEqual(3);
      }
    }
    expect(tail.lines.sort()).toEqual(names.flatMap((name) => [`${name} 1`, `${name} 2`]).sort());
  });

  it("finds the rest of a file that was renamed while it was not held open", async () => {
    await folder.write("a.log", "");
    const tail = await bench.started(["a.log", "b.log"], { max_concurrent_files: 1 });
    await tail.poll();
    await folder.write("b.log", "b\n"); // takes the only handle
    await tail.poll();
    await folder.append("a.log", "a1\n");
    await folder.rename("a.log", "a.log.1");
    await folder.write("a.log", "a2\n");
    for (let round = 0; round < 4; round++) await tail.poll();
    expect(tail.lines.sort()).toEqual(["a1", "a2", "b"]);
  });

  it("looks at idle files in turn, so that a round costs no more with a thousand of them", async () => {
    for (let i = 0; i < 300; i++) await folder.write(`w${i}.log`, "");
    const tail = await bench.started("*.log");
    await tail.poll();
    await tail.clock.advance(120_000);
    await tail.poll();
    let looks = 0;
    tail.files.fault = (call) => {
      if (call === "facts") looks++;
    };
    await tail.poll();
    expect(looks).toBe(64);
    await folder.append("w7.log", "x\n");
    for (let round = 0; round < 5; round++) await tail.poll();
    expect(tail.lines).toEqual(["x"]);
  });
});

describe("OmniProxyLogReceiver flow", () => {
  it("reads no further in a file before the pipeline has taken what came before", async () => {
    await folder.write("error.log", "1\n2\n3\n4\n");
    const tail = bench.tailOf("error.log", { start_at: "beginning", max_batch_lines: 2 });
    const open: (() => void)[] = [];
    tail.sink.fault = () => new Promise<void>((resolve) => open.push(resolve));
    await tail.start();
    const polled = tail.poll();
    await expect.poll(() => open.length).toBe(1);
    await settle();
    expect(open.length).toBe(1);
    open[0]?.();
    await expect.poll(() => open.length).toBe(2);
    expect(tail.lines).toEqual(["1", "2"]);
    open[1]?.();
    await polled;
    expect(tail.lines).toEqual(["1", "2", "3", "4"]);
  });

  it("offers a refused batch again and loses nothing", async () => {
    await folder.write("error.log", "1\n2\n");
    const tail = bench.tailOf("error.log", { start_at: "beginning", max_batch_lines: 1 });
    let refusals = 3;
    tail.sink.fault = () => {
      if (refusals-- > 0) throw new ConsumeError("retryable", "queue is full");
    };
    await tail.start();
    const polled = tail.poll();
    let isDone = false;
    void polled.then(() => {
      isDone = true;
    });
    await expect
      .poll(async () => {
        await tail.clock.advance(5000);
        return isDone;
      })
      .toBe(true);
    expect(tail.lines).toEqual(["1", "2"]);
    expect(tail.warnings()).toEqual(["the pipeline does not take log lines just now: waiting with the next ones"]);
  });

  it("skips a batch that is refused for good, counts it and goes on", async () => {
    await folder.write("error.log", "1\n2\n3\n");
    const tail = bench.tailOf("error.log", { start_at: "beginning", max_batch_lines: 1 });
    let number = 0;
    tail.sink.fault = () => {
      if (++number === 2) throw new ConsumeError("permanent", "no");
    };
    await tail.start();
    await tail.poll();
    expect(tail.lines).toEqual(["1", "3"]);
    expect(await tail.metric('otelcol_receiver_refused_log_records{receiver="omni_proxy_log",transport="file"}')).toBe(
      1,
    );
    expect(await tail.metric('otelcol_receiver_accepted_log_records{receiver="omni_proxy_log",transport="file"}')).toBe(
      2,
    );
  });

  it("moves a checkpoint only behind the acknowledgement", async () => {
    const offsets = new MemoryOffsets();
    await folder.write("error.log", "1\n22\n");
    const tail = bench.tailOf("error.log", { start_at: "beginning", max_batch_lines: 1 }, offsets);
    const atConsume: number[] = [];
    tail.sink.fault = async () => {
      atConsume.push((await offsets.load())[0]?.offset ?? -1);
    };
    await tail.start();
    await tail.poll();
    expect(atConsume).toEqual([0, 2]);
    expect((await offsets.load())[0]).toMatchObject({ path: folder.at("error.log"), offset: 5 });
  });

  it("reads lines that a round sees while the pass before it is just ending", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log");
    await tail.poll();
    await folder.append("error.log", "1\n");
    let second: Promise<void> | undefined;
    tail.files.before = async (call) => {
      if (call !== "read" || second || tail.sink.items === 0) return;
      // The pass has handed on the line and looks for more of what the first round saw.
      await folder.append("error.log", "2\n");
      second = tail.poll();
      await expect.poll(() => tail.metric("omnishim_log_lag_bytes")).toBe(2);
    };
    await tail.poll();
    await second;
    expect(tail.lines).toEqual(["1", "2"]);
  });

  it("polls by itself, every poll_interval", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log", { poll_interval: "100ms" });
    await folder.append("error.log", "1\n");
    await tail.clock.advance(99);
    expect(tail.lines).toEqual([]);
    await tail.clock.advance(1);
    await expect.poll(() => tail.lines).toEqual(["1"]);
  });
});

describe("OmniProxyLogReceiver shutdown", () => {
  it("reads what was written until then, closes every file and reads no more", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log");
    await folder.append("error.log", "1\nunfinished");
    await tail.stop();
    expect(tail.lines).toEqual(["1"]);
    expect(tail.files.handles).toBe(0);
    expect(tail.clock.pending).toBe(0);
    await folder.append("error.log", "\n2\n");
    await tail.poll();
    expect(tail.lines).toEqual(["1"]);
  });

  it("may come twice, and before start", async () => {
    const tail = bench.tailOf("error.log");
    await tail.stop();
    await tail.stop();
    expect(tail.lines).toEqual([]);
  });

  it("ends at the deadline when the pipeline takes nothing, and says what is left", async () => {
    await folder.write("error.log", "123\n");
    const tail = bench.tailOf("error.log", { start_at: "beginning" });
    tail.sink.fault = () => new Promise<void>(() => {});
    await tail.start();
    const deadline = new AbortController();
    const stopped = tail.receiver.shutdown(deadline.signal);
    await settle();
    deadline.abort();
    await stopped;
    expect(tail.warnings()).toContain("stopped before all log lines that were there could be handed on");
    await expect.poll(() => tail.files.handles).toBe(0);
  });
});
