import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultyFiles, fileError, LogFolder } from "../../../test/kit/log-tail.ts";
import { escapeGlob, type Glob, parseGlob } from "./glob.ts";
import { scanPaths } from "./scan.ts";

describe("scanPaths", () => {
  let folder: LogFolder;
  const files = new FaultyFiles();
  beforeEach(async () => {
    folder = new LogFolder();
    for (const name of ["a.log", "b.log", "b.txt", "sub/a.log", "sub/deep/c.log"]) await folder.write(name, "x\n");
  });
  afterEach(() => {
    files.fault = undefined;
    folder.remove();
  });

  const globs = (...patterns: string[]): Glob[] =>
    patterns.flatMap((pattern) => parseGlob(`${escapeGlob(folder.path)}/${pattern}`, "/") as Glob[]);
  const found = async (include: string[], exclude: string[] = []): Promise<string[]> =>
    (await scanPaths(globs(...include), globs(...exclude), files)).paths.map((path) =>
      path.slice(folder.path.length + 1),
    );

  it("finds what the patterns stand for, once and sorted", async () => {
    expect(await found(["*.log", "a.log", "**/a.log"])).toEqual(["a.log", "b.log", "sub/a.log"]);
    expect(await found(["**"])).toEqual(["a.log", "b.log", "b.txt", "sub/a.log", "sub/deep/c.log"]);
    expect(await found(["*/a.log"])).toEqual(["sub/a.log"]);
  });

  it("leaves out what is excluded", async () => {
    expect(await found(["**/*.log"], ["sub/**", "b*"])).toEqual(["a.log"]);
  });

  it("keeps a plain path that does not exist and finds nothing in a folder that does not", async () => {
    expect(await found(["later.log", "gone/*.log"])).toEqual(["later.log"]);
  });

  it("follows a link to a folder for a name but not for **, so that circles end", async () => {
    await folder.symlink(folder.path, "circle");
    expect(await found(["circle/a.log", "*/b.log"])).toEqual(["circle/a.log", "circle/b.log"]);
    expect(await found(["**/b.log"])).toEqual(["b.log"]);
  });

  it("says which folder it could not list and goes on with the others", async () => {
    files.fault = (call, path) => {
      if (call === "list" && path.endsWith("/sub")) throw fileError("EACCES");
    };
    const scan = await scanPaths(globs("**/*.log"), [], files);
    expect(scan.paths.map((path) => path.slice(folder.path.length + 1))).toEqual(["a.log", "b.log"]);
    expect(scan.failed).toMatchObject([{ folder: folder.at("sub"), error: { code: "EACCES" } }]);
  });

  it("gives up at the given number of entries and says so", async () => {
    const scan = await scanPaths(globs("**/*.log"), [], files, 2);
    expect(scan.isCut).toBe(true);
    expect((await scanPaths(globs("**/*.log"), [], files)).isCut).toBe(false);
  });
});
