#!/usr/bin/env node
// Adds to package-lock.json the optional platform packages (@biomejs/cli-darwin-arm64, ...) that npm left out.
//
// npm writes them only when its registry serves them; behind a mirror that has the Linux builds alone they are missing, and `npm ci`
// then refuses the lockfile ("Missing: @biomejs/cli-darwin-arm64@ from lock file"). Their exact version is in the parent's
// optionalDependencies, their platform in their name. Run after `npm install` of a package with platform builds; a second run changes nothing.
import { readFileSync, writeFileSync } from "node:fs";

const file = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(file, "utf8"));
const packages = lock.packages;
const systems = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];

const added = [];
for (const parent of Object.values(packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`;
    if (path in packages) continue;
    const words = name.slice(name.lastIndexOf("/") + 1).split("-");
    const at = words.findIndex((word) => systems.includes(word));
    const cpu = words[at + 1];
    if (at < 0 || cpu === undefined || !/^\d+\.\d+\.\d+/.test(version)) {
      console.error(
        `${name}@${version}: no platform in the name or no exact version; npm must write this entry itself`,
      );
      process.exitCode = 1;
      continue;
    }
    packages[path] = {
      version,
      cpu: [cpu],
      ...(parent.dev ? { dev: true } : {}),
      ...(words[at] === "linux" && words[at + 2]
        ? { libc: [words[at + 2].startsWith("musl") ? "musl" : "glibc"] }
        : {}),
      ...(parent.license ? { license: parent.license } : {}),
      optional: true,
      os: [words[at]],
    };
    added.push(name);
  }
}
if (added.length > 0) {
  const sorted = Object.entries(packages).sort(([a], [b]) => (a < b ? -1 : 1));
  lock.packages = Object.fromEntries(sorted);
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
}
console.log(added.length > 0 ? `added ${added.length}: ${added.join(", ")}` : "nothing to add");
