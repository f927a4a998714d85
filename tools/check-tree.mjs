#!/usr/bin/env node
// Refuses what must not be in the repository: paths of somebody's machine and hosts of package registries (a lockfile or a
// script that names one works behind that one only). Part of `npm run check`.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

// Written in pieces, so that this file passes its own check.
const forbidden = [
  { what: "a path of a build machine", pattern: new RegExp(`(?<![\\w.-])/(${["work", "root"].join("|")})/[\\w.]`) },
  { what: "a home directory", pattern: /(?<![\w.-])\/home\/(?!(?:USER|user|omni|you)\b)[a-z]/ },
  {
    what: "a package registry's host",
    pattern: new RegExp(
      ["registry\\.npm" + "js", "proxy\\.gol" + "ang", "sum\\.gol" + "ang", "(?<![\\w.])py" + "pi\\.org"]
        .concat(["python" + "hosted\\.org", "deb\\.deb" + "ian", "npm" + "mirror\\."])
        .join("|"),
    ),
  },
];

const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" })
  .split("\0")
  .filter((file) => file !== "" && existsSync(`${root}/${file}`));
let found = 0;
for (const file of files) {
  const bytes = readFileSync(`${root}/${file}`);
  if (file.endsWith(".pb")) continue;
  for (const [index, line] of bytes.toString("latin1").split("\n").entries())
    for (const { what, pattern } of forbidden) {
      const match = pattern.exec(line);
      if (!match) continue;
      found++;
      console.error(
        `${file}:${index + 1}: ${what}: ${line.slice(Math.max(0, match.index - 20), match.index + 60).trim()}`,
      );
    }
}
if (found > 0) process.exitCode = 1;
else console.log(`${files.length} files name no machine path and no registry host`);
