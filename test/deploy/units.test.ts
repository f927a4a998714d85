import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, inject, it } from "vitest";
import { boot, missingSystemd } from "./boot.ts";
import { find } from "./machine.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const script = readFileSync(new URL("units.sh", import.meta.url), "utf8");
const executable = inject("executable");
const jaeger = inject("peers")["jaeger-v1"]?.path;
const missing = executable.skipped ?? (await missingSystemd());

it.skipIf(missing !== undefined)(
  `the units work under a real systemd${missing ? ` (skipped: ${missing})` : ""}`,
  async () => {
    const shared = {
      "/src": root,
      "/executable": dirname(executable.path ?? ""),
      ...(jaeger === undefined ? {} : { "/jaeger/v1": jaeger }),
    };
    const output = await boot({ script, shared, timeoutMs: 200_000 });
    const failures = output.split("\n").filter((line) => !line.startsWith("ok "));
    expect(failures.join("\n").trim()).toBe("");
    // Checks that are indented need a program which may not be here.
    const optional = (needs: string): boolean =>
      needs === "jaeger" ? jaeger !== undefined : find(needs) !== undefined;
    const wanted = script.split(/^if .*(jaeger|logrotate).*$/m).flatMap((part, index, parts) => {
      const inner = index === 0 ? true : optional(parts[index - 1] ?? "");
      return [...part.matchAll(/^( {2})?check "(.+?)"/gm)].flatMap(([, indent, name]) =>
        indent === undefined || inner ? [`ok ${name}`] : [],
      );
    });
    expect(wanted.length).toBeGreaterThan(20);
    expect(output.trim().split("\n")).toEqual(wanted);
  },
  240_000,
);
