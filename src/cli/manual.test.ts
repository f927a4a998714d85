import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { buildInfo } from "./build-info.ts";
import { tableOf } from "./completion/table.ts";
import type { Edge } from "./edge.ts";
import { createProgram } from "./main.ts";
import { manualPage } from "./manual.ts";

const PAGE = fileURLToPath(new URL("../../deploy/man/omnishim.1", import.meta.url));
const silent = { write: () => undefined };
const edge: Edge = { env: {}, stdout: silent, stderr: silent, stop: new AbortController().signal };
const table = tableOf(createProgram(edge, () => undefined));
const page = manualPage(table, buildInfo.version);

const has = (program: string): boolean => spawnSync(program, ["--version"]).error === undefined;

describe("deploy/man/omnishim.1", () => {
  it("omnishim.1 is what the table of commands gives", async () => {
    await expect(page).toMatchFileSnapshot(PAGE);
  });

  it.skipIf(!has("mandoc"))("omnishim.1 is without errors and warnings for mandoc", () => {
    const { stdout } = spawnSync("mandoc", ["-Tlint", "-Wwarning"], { input: page, encoding: "utf8" });
    // A date would make the page another one every day.
    expect(stdout.split("\n").filter((line) => line !== "" && !line.includes("missing date"))).toEqual([]);
  });

  it.skipIf(!has("groff"))("omnishim.1 is without warnings for groff, and shows every command and option", () => {
    const { stdout, stderr, status } = spawnSync("groff", ["-man", "-Tutf8", "-ww", "-rLL=100n", "-P-c"], {
      input: page,
      encoding: "utf8",
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    // Overstruck letters are bold or underlined.
    const plain = stdout.replace(/.\u0008/gu, "");
    for (const { name, options } of [table.root, ...table.commands]) {
      expect(plain).toContain(name);
      for (const { long } of options) if (long !== "--help") expect(plain).toContain(long);
    }
  });
});
