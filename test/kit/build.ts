import { execFileSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Newest change below `path`, in milliseconds; 0 where there is nothing. */
function newest(path: string): number {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isDirectory()) return found?.mtimeMs ?? 0;
  return Math.max(found.mtimeMs, ...readdirSync(path).map((name) => newest(`${path}/${name}`)));
}

/**
 * vitest's global set-up: whole-process tests run dist/, so it is built when it is older than its sources. A run of
 * named unit tests only (`vitest run src/config`) does not wait for it.
 */
export function setup(): void {
  const filters = process.argv.slice(2).filter((arg) => !arg.startsWith("-") && arg !== "run");
  if (filters.length > 0 && filters.every((filter) => filter.includes("src"))) return;
  const sources = ["src", "tsconfig.json", "tsconfig.build.json", "package.json"];
  const built = statSync(`${root}/dist/main.js`, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (built > Math.max(...sources.map((path) => newest(root + path)))) return;
  execFileSync(process.execPath, [`${root}/node_modules/typescript/bin/tsc`, "-p", "tsconfig.build.json"], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
}
