import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readCapture } from "../kit/captures.ts";
import { Workplace } from "../kit/offline.ts";
import { CLI } from "../kit/process.ts";

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `omnishim` with its output piped, as in a script. */
async function omnishim(...args: string[]): Promise<Result> {
  const child: ChildProcess = spawn(process.execPath, [CLI, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout as Readable),
    text(child.stderr as Readable),
    once(child, "close") as Promise<[number | null]>,
  ]);
  return { code, stdout, stderr };
}

describe("the offline commands", () => {
  let place: Workplace;
  let logs: string;
  beforeEach(() => {
    place = new Workplace();
    logs = place.logs("proxy-mock/smoke");
  });
  afterEach(() => place.remove());

  const [id = ""] = [...readCapture("proxy-mock/smoke").requestIds.values()];

  it.each([
    ["convert", () => [logs, place.at("out.json")]],
    ["stats", () => [logs]],
    ["explain", () => [id, logs]],
    ["report", () => [logs, place.at("out.html")]],
  ])(
    "%s ends with 0, shows no progress when piped, and prints one JSON document with --json",
    async (command, args) => {
      const plain = await omnishim(command, ...args());
      expect(plain).toMatchObject({ code: 0, stderr: "" });
      expect(plain.stdout).not.toMatch(/[\r\u001b]/);
      expect(plain.stdout.endsWith("\n")).toBe(true);
      const json = await omnishim(command, ...args(), "--json");
      expect(json).toMatchObject({ code: 0, stderr: "" });
      expect(JSON.parse(json.stdout)).toBeTypeOf("object");
    },
  );

  it.each([
    ["convert", () => [place.at("nowhere"), place.at("out.json")]],
    ["stats", () => [place.at("nowhere")]],
    ["explain", () => [id, place.at("nowhere")]],
    ["report", () => [place.at("nowhere"), place.at("out.html")]],
  ])("%s ends with 1 and names what it cannot read", async (command, args) => {
    const { code, stdout, stderr } = await omnishim(command, ...args());
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^Error: .*nowhere: cannot be read \(ENOENT/);
    expect(readdirSync(place.path)).toEqual(["logs"]);
  });

  it.each([
    ["convert", (empty: string) => [empty, place.at("out.json")]],
    ["stats", (empty: string) => [empty]],
    ["explain", (empty: string) => ["no-such-request", empty]],
    ["report", (empty: string) => [empty, place.at("out.html")]],
  ])("%s ends with 2 and leaves no file when there is nothing in what it read", async (command, args) => {
    place.write("empty/notes.txt", "no log\n");
    const { code, stdout, stderr } = await omnishim(command, ...args(place.at("empty")));
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/no request|no log|no trace/);
    expect(readdirSync(place.path).sort()).toEqual(["empty", "logs"]);
  });

  it.each([
    [["convert", "LOGS"], /nowhere to write to/],
    [["convert", "LOGS", "OUT", "--skip-req-num", "-1"], /Write a whole number, 0 or more/],
    [["convert", "LOGS", "OUT", "--format", "xml"], /Allowed choices are jaeger, otlp-json, otlp-proto/],
    [["convert", "LOGS", "OUT", "--since", "yesterday"], /--since: "yesterday" is no time/],
    [["stats"], /nothing to read/],
    [["stats", "LOGS", "--by", "colour"], /Allowed choices are role, host, upstream, policy, outcome/],
    [["explain", "only-an-id"], /missing required argument 'source'/],
    [["report", "LOGS"], /nowhere to write to: give OUT\.html, or --json/],
    [["report", "LOGS", "OUT", "--top", "501"], /Write at most 500/],
    [["report", "LOGS", "OUT", "--jaeger", "javascript:alert(1)"], /Write it as http/],
  ])("%j ends with 1 and says what it wants", async (args, wanted) => {
    const given = args.map((arg) => (arg === "LOGS" ? logs : arg === "OUT" ? place.at("out") : arg));
    const { code, stderr } = await omnishim(...given);
    expect(code).toBe(1);
    expect(stderr).toMatch(wanted);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(existsSync(place.at("out"))).toBe(false);
  });

  it("convert takes log_to_jaeger.py's command line, and the README's --filter-reqids, which it refused", async () => {
    const { code, stdout } = await omnishim(
      "convert",
      logs,
      place.at("out.json"),
      "--skip-req_num",
      "0",
      "--filter-reqids",
      id,
      "--json",
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ traces: 1, summaries: { skipped: 0 }, missingIds: [] });
    const { data } = JSON.parse(readFileSync(place.at("out.json"), "utf8")) as { data: unknown[] };
    expect(data).toHaveLength(6);
  });

  it("each command has help with its exit codes", async () => {
    for (const command of ["convert", "stats", "explain", "report"]) {
      const { code, stdout } = await omnishim(command, "--help");
      expect(code).toBe(0);
      expect(stdout).toMatch(/Exit codes:\n {2}0 {2}done\n/);
    }
  });
});
