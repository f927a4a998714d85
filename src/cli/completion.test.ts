import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { command } from "../../test/kit/edge.ts";

/** Shells that this machine has not are skipped: bash is everywhere that CI runs, zsh and fish where somebody put them. */
const has = (shell: string): boolean => spawnSync(shell, ["--version"]).status === 0;

const folder = mkdtempSync(join(tmpdir(), "omnishim-completion-"));
const scripts = new Map<string, string>();

beforeAll(async () => {
  mkdirSync(join(folder, "logs"));
  writeFileSync(join(folder, "otel.yml"), "");
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, stdout } = await command(["completion", shell]);
    expect(code).toBe(0);
    const file = join(folder, `completion.${shell}`);
    writeFileSync(file, stdout);
    scripts.set(shell, file);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(shell: string, args: readonly string[]): string[] {
  const answer = execFileSync(shell, args, { cwd: folder, encoding: "utf8", env: { ...process.env, HOME: folder } });
  return answer.split("\n").filter((line) => line !== "");
}

/** What bash offers for the last of `words`, as readline would call the function. */
function bash(...words: readonly string[]): string[] {
  const script = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _omnishim; printf "%s\\n" "${COMPREPLY[@]}"';
  return run("bash", ["--norc", "-c", script, scripts.get("bash") ?? "", "omnishim", ...words]);
}

/** What fish offers, without its descriptions. */
function fish(line: string): string[] {
  const found = run("fish", [
    "--no-config",
    "-c",
    'source "$argv[1]"; complete -C "$argv[2]"',
    scripts.get("fish") ?? "",
    line,
  ]);
  return found.map((text) => text.split("\t")[0] ?? "");
}

describe.skipIf(!has("bash"))("completion for bash", () => {
  it("bash offers every command that the help lists", async () => {
    const { stdout } = await command(["--help"]);
    const listed = [...(/^Commands:\n([\s\S]*?)\n\n/m.exec(stdout)?.[1] ?? "").matchAll(/^ {2}([a-z-]+)/gm)].map(
      ([, name]) => name,
    );
    expect(listed.length).toBeGreaterThan(10);
    expect(bash("").sort()).toEqual([...listed, "print-initial-config"].sort());
  });

  it.each([
    [["val"], ["validate"]],
    [["stats", "--by", "h"], ["host"]],
    [["stats", "--by", "=", "up"], ["upstream"]],
    [
      ["stats", "--by", "="],
      ["role", "host", "upstream", "policy", "outcome"],
    ],
    [["--config", "o"], ["otel.yml"]],
    [["--config", "stats", "val"], ["validate"]],
    [["--config", "=", "otel.yml", "doc"], ["doctor"]],
    [["doctor", "--jaeger-q"], ["--jaeger-query"]],
    [["convert", "lo"], ["logs"]],
    [["explain", "some-id", "lo"], ["logs"]],
    [["explain", "lo"], []],
    [
      ["completion", ""],
      ["bash", "zsh", "fish"],
    ],
    [["init", "--deployment", "s"], ["sidecar"]],
    [["--vers"], ["--version"]],
    [["stats", "--limit", ""], []],
  ])("bash offers for %j: %j", (words, offered) => {
    expect(bash(...words)).toEqual(offered);
  });

  it.each(["validate", "doctor", "convert", "stats", "explain", "demo"])(
    "bash offers every option that the help of %s lists",
    async (name) => {
      const { stdout } = await command([name, "--help"]);
      const listed = [...stdout.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(([, flag]) => flag);
      expect(bash(name, "--").sort()).toEqual([...new Set(listed)].sort());
    },
  );
});

describe.skipIf(!has("fish"))("completion for fish", () => {
  it.each([
    ["omnishim val", ["validate"]],
    ["omnishim stats --by h", ["host"]],
    ["omnishim --config o", ["otel.yml"]],
    ["omnishim doctor --jaeger-q", ["--jaeger-query"]],
    ["omnishim convert lo", ["logs/"]],
    ["omnishim completion z", ["zsh"]],
  ])("fish offers for %j: %j", (line, offered) => {
    expect(fish(line)).toEqual(offered);
  });
});

describe.skipIf(!has("zsh"))("completion for zsh", () => {
  it("zsh takes the script, and has it complete omnishim", () => {
    const script = 'autoload -Uz compinit && compinit -u -D && source "$1" && print -r -- $_comps[omnishim]';
    expect(run("zsh", ["-f", "-c", script, "zsh", scripts.get("zsh") ?? ""])).toEqual(["_omnishim"]);
  });

  it("zsh can read every part of the script", () => {
    expect(run("zsh", ["-f", "-n", scripts.get("zsh") ?? ""])).toEqual([]);
  });
});

describe("omnishim completion", () => {
  it("completion names the shells when it is asked for another", async () => {
    const { code, stderr } = await command(["completion", "tcsh"]);
    expect(code).toBe(1);
    expect(stderr).toContain("Allowed choices are bash, zsh, fish");
  });
});
