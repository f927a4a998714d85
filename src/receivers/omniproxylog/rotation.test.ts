import { utimes } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LogBench, type LogFolder } from "../../../test/kit/log-tail.ts";

let bench: LogBench;
let folder: LogFolder;

beforeEach(() => {
  bench = new LogBench();
  folder = bench.folder;
});
afterEach(() => bench.end());

describe("OmniProxyLogReceiver rotation", () => {
  it("reads a renamed file to its end, then the new one from its start", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log");
    await folder.append("error.log", "1\n");
    await tail.poll();
    await folder.append("error.log", "2\n");
    await folder.rename("error.log", "error.log.1");
    await folder.append("error.log.1", "3\n");
    await folder.write("error.log", "4\n");
    await tail.poll();
    expect(tail.lines).toEqual(["1", "2", "3", "4"]);
    await folder.append("error.log.1", "5\n"); // a worker that has not reopened yet
    await folder.append("error.log", "6\n");
    await tail.poll();
    expect(tail.lines).toEqual(["1", "2", "3", "4", "5", "6"]);
    expect(new Set(tail.records.map(({ attributes }) => attributes["log.file.path"]))).toEqual(
      new Set([folder.at("error.log")]),
    );
    expect(await tail.metric("omnishim_log_rotations")).toBe(1);
  });

  it("gives the unfinished last line of a replaced file once it has been quiet for rotate_wait, and closes it", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log");
    await folder.append("error.log", "1\nlast without end");
    await folder.rename("error.log", "error.log.1");
    await folder.write("error.log", "2\n");
    await tail.poll();
    expect(tail.lines).toEqual(["1", "2"]);
    expect(tail.files.handles).toBe(2);
    await tail.pollUntilRetired();
    expect(tail.lines).toEqual(["1", "2", "last without end"]);
    expect(tail.files.handles).toBe(1);
    await folder.append("error.log", "3\n");
    await tail.poll();
    expect(tail.lines.at(-1)).toBe("3");
  });

  it("follows a file that was moved away with nothing in its place for as long as it takes", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log");
    await folder.rename("error.log", "moved");
    await tail.pollUntilRetired();
    await folder.append("moved", "late\n");
    await tail.poll();
    expect(tail.lines).toEqual(["late"]);
  });

  it("gives a file that was moved away and back its full quiet time when it is replaced later", async () => {
    await folder.write("error.log", "unfinished");
    const tail = await bench.started("error.log", { start_at: "beginning" });
    await folder.rename("error.log", "elsewhere");
    await tail.poll();
    await folder.rename("elsewhere", "error.log");
    await tail.pollUntilRetired();
    await folder.rename("error.log", "error.log.1");
    await folder.write("error.log", "");
    await tail.poll();
    await tail.poll();
    expect(tail.lines).toEqual([]);
    await folder.append("error.log.1", " line\n");
    await tail.poll();
    expect(tail.lines).toEqual(["unfinished line"]);
  });

  it("knows a renamed file again when the pattern takes in its new name", async () => {
    await folder.write("error.log", "1\n");
    const tail = await bench.started("error.log*", { start_at: "beginning" });
    await tail.poll();
    await folder.append("error.log", "2\nunfinished");
    await folder.rename("error.log", "error.log.1");
    await folder.write("error.log", "3\n");
    await tail.poll();
    expect(tail.lines).toEqual(["1", "2", "3"]);
    await tail.pollUntilRetired();
    await folder.append("error.log.1", " no more\n5\n"); // somebody still writes to it, much later
    await tail.poll();
    await tail.poll();
    expect(tail.lines).toEqual(["1", "2", "3", "unfinished", " no more", "5"]);
    expect(tail.records.map(({ attributes }) => attributes["log.file.path"])).toEqual(
      Array.from({ length: 6 }, () => folder.at("error.log")),
    );
  });

  it("reads each file of several rotations between two rounds that it still holds", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log*");
    for (const turn of [1, 2, 3]) {
      await folder.append("error.log", `${turn}\n`);
      await folder.rename("error.log", `error.log.${turn}`);
      await folder.write("error.log", "");
    }
    await tail.poll();
    expect(tail.lines.sort()).toEqual(["1", "2", "3"]);
  });

  it("reads a deleted file to its end and closes it", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log");
    await folder.append("error.log", "1\n2");
    await folder.delete("error.log");
    await tail.pollUntilRetired();
    expect(tail.lines).toEqual(["1", "2"]);
    expect(tail.files.handles).toBe(0);
    await folder.write("error.log", "3\n");
    await tail.poll();
    expect(tail.lines).toEqual(["1", "2", "3"]);
  });

  it("begins again when copytruncate emptied the file", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log");
    await folder.append("error.log", "one\ntwo\n");
    await tail.poll();
    await folder.copyTruncate("error.log", "copy");
    await tail.poll();
    await folder.append("error.log", "three\n");
    await tail.poll();
    expect(tail.lines).toEqual(["one", "two", "three"]);
    expect(tail.records.at(-1)?.attributes["log.file.position"]).toBe(0);
    expect(await tail.metric("omnishim_log_truncations")).toBe(1);
  });

  it("begins again when the file was truncated and is already longer than before", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log");
    await folder.append("error.log", "one\n");
    await tail.poll();
    await folder.write("error.log", "a new and longer content\n");
    await tail.poll();
    expect(tail.lines).toEqual(["one", "a new and longer content"]);
  });

  it("begins again when the file was truncated and written to the very same size", async () => {
    await folder.write("error.log", "one\ntwo\n");
    const tail = await bench.started("error.log", { start_at: "beginning" });
    await tail.poll();
    await folder.write("error.log", "six\nten\n");
    await utimes(folder.at("error.log"), new Date(), new Date(Date.now() + 5000)); // coarse file times
    await tail.poll();
    expect(tail.lines).toEqual(["one", "two", "six", "ten"]);
  });

  it("does not read a file again that was only touched", async () => {
    await folder.write("error.log", "one\ntwo");
    const tail = await bench.started("error.log", { start_at: "beginning" });
    await tail.poll();
    await utimes(folder.at("error.log"), new Date(), new Date(Date.now() + 5000));
    await tail.poll();
    expect(tail.lines).toEqual(["one"]);
    expect(await tail.metric("omnishim_log_truncations")).toBe(0);
  });

  it("does not take lines of a new content for more of the old one when it is truncated during a read", async () => {
    await folder.write("error.log", "");
    const tail = await bench.started("error.log");
    await folder.append("error.log", "one\n");
    await tail.poll();
    await folder.append("error.log", "two\n");
    const changes = [() => folder.write("error.log", "XXXX\nYYYY\nZZZZ\n")];
    tail.files.before = async (call) => {
      if (call === "read") await changes.pop()?.();
    };
    await tail.poll();
    await tail.poll();
    expect(tail.lines).toEqual(["one", "XXXX", "YYYY", "ZZZZ"]);
  });

  it("follows a symbolic link to its new target and reads the old one to its end", async () => {
    await folder.write("day1.log", "");
    await folder.symlink("day1.log", "current.log");
    const tail = await bench.started("current.log");
    await folder.append("day1.log", "1\n");
    await folder.write("day2.log", "2\n");
    await folder.delete("current.log");
    await folder.symlink("day2.log", "current.log");
    await tail.poll();
    expect(tail.lines).toEqual(["1", "2"]);
    expect(tail.records[0]?.attributes["log.file.name"]).toBe("current.log");
  });

  it("reads a file with two names once, and on under the other name when one goes", async () => {
    await folder.write("a.log", "");
    await folder.hardLink("a.log", "b.log");
    const tail = await bench.started("*.log");
    await folder.append("a.log", "1\n");
    await tail.poll();
    await folder.delete("a.log");
    await folder.append("b.log", "2\n");
    await tail.pollUntilRetired();
    await folder.append("b.log", "3\n");
    await tail.poll();
    expect(tail.lines).toEqual(["1", "2", "3"]);
  });
});
