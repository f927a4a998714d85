import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Workplace } from "../../../test/kit/offline.ts";
import { END_SCRIPT, listScript, partScript, quote, remotePath, siblingAccessLog } from "./remote-script.ts";

/** Runs a script as the other side would. @returns stdout as a binary string */
function sh(script: string, cwd: string): string {
  const done = spawnSync("sh", ["-s"], { input: Buffer.from(script, "latin1"), cwd, encoding: "latin1" });
  expect(done.status, done.stderr).toBe(0);
  return done.stdout;
}

function binary(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** A file's facts are not looked at here: "t 3 ... /a/b" -> "t /a/b". */
function records(output: string, mark: string): string[] {
  const [, answer = ""] = output.split(`\n${mark}\n`);
  return answer
    .split("\0")
    .filter((record) => record !== "" && !record.startsWith("c "))
    .map((record) => record.replace(/^([tna]) \d+ \d+ \d+ \d+ /, "$1 "));
}

describe("remote scripts", () => {
  let place: Workplace;
  beforeEach(() => {
    place = new Workplace();
  });
  afterEach(() => place.remove());

  it("quote makes one word of anything, as a shell reads it", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."'\"\\$`;&|<>(){}[]*?!#~ \t\n-a%", "ü") }), (text) => {
        expect(sh(`printf %s ${quote(binary(text))}`, place.path)).toBe(binary(text));
      }),
      { numRuns: 60 },
    );
    expect(() => quote("a\0b")).toThrow(RangeError);
  });

  it.each([
    ["/var/log/omni", "/var/log/omni"],
    ["/var/log/omni//", "/var/log/omni"],
    ["logs", "./logs"],
    ["~/logs", "./logs"],
    ["~", "./."],
    ["-rf", "./-rf"],
    ["/", "/"],
  ])("remotePath makes %s a path that is no option", (given, wanted) => {
    expect(remotePath(given)).toBe(wanted);
  });

  it.each([
    ["/l/nginx_error.log", "/l/nginx_access.log"],
    ["/errors/proxy.log", ""],
    ["./error.log", "./access.log"],
  ])("siblingAccessLog of %s is %s", (given, wanted) => {
    expect(siblingAccessLog(given)).toBe(wanted);
  });

  it("listScript lists everything below the trace folder, and a log's rotated files, whatever they are called", () => {
    const names = ["a b.log", "it's.log", "$(touch pwned).log", "new\nline.log", "sub/ü.log"];
    for (const name of names) place.write(`traces/${name}`, name);
    for (const name of ["error.log", "error.log.1", "error.log-20261122.gz", "error.logic", "access.log"])
      place.write(`l'og/${name}`, name);
    mkdirSync(place.at("l'og/error.log.d"));
    const paths = { traces: remotePath(place.at("traces")), log: remotePath(place.at("l'og/error.log")) };
    const found = records(sh(listScript(paths, "mark") + END_SCRIPT, place.path), "mark");
    expect(found.pop()).toBe("z");
    expect(found.sort()).toEqual(
      [
        ...names.map((name) => `t ${binary(place.at(`traces/${name}`))}`),
        ...["error.log", "error.log-20261122.gz", "error.log.1"].map((name) => `n ${place.at(`l'og/${name}`)}`),
        `a ${place.at("l'og/access.log")}`,
      ].sort(),
    );
    expect(readdirSync(place.path).sort()).toEqual(["l'og", "traces"]);
  });

  it("listScript says what is not there", () => {
    const paths = { traces: remotePath("-no $(touch pwned)"), log: remotePath("`touch pwned`") };
    expect(records(sh(listScript(paths, "mark") + END_SCRIPT, place.path), "mark")).toEqual(["m t", "m n", "z"]);
    expect(readdirSync(place.path)).toEqual([]);
  });

  it("partScript sends exactly as many bytes as were asked for, also of a file that is shorter or gone", () => {
    const long = place.write("it's long", "0123456789");
    const short = place.write("short", "01234");
    const gone = place.write("gone", "x");
    rmSync(gone);
    const paths = { traces: place.at("none"), log: place.at("none") };
    const parts = [long, short, gone].map((path) => partScript(path, 3, 6)).join("");
    const answer = sh(listScript(paths, "mark") + parts + END_SCRIPT, place.path).replaceAll("\0", "|");
    const files = "b \\d+ \\d+[|]345678f 10 \\d+ \\d+[|]b \\d+ \\d+[|]34[|]{4}f 5 \\d+ \\d+[|]b 0 0[|]{7}f 0 0 0[|]";
    expect(answer).toMatch(new RegExp(`[|]z[|]${files}$`));
  });

  it("a later part is read as the file is then", () => {
    const path = place.write("grows", "01234");
    writeFileSync(path, "0123456789");
    const paths = { traces: place.at("none"), log: place.at("none") };
    const answer = sh(listScript(paths, "mark") + partScript(path, 5, 5) + END_SCRIPT, place.path);
    expect(answer.replaceAll("\0", "|")).toMatch(/[|]56789f 10 \d+ \d+[|]$/);
  });
});
