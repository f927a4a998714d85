import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

/** The executable that `npm run build:binary` makes, or why it cannot be made here. */
export interface Executable {
  readonly path?: string;
  readonly skipped?: string;
}

declare module "vitest" {
  export interface ProvidedContext {
    executable: Executable;
  }
}

/** tools/binary.mjs's exit code where the runtime cannot be had. */
const UNAVAILABLE = 69;

/** Builds the executable once for all files of tests. @throws when the build is broken */
export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), "omnishim-executable-"));
  const tool = fileURLToPath(new URL("../../tools/binary.mjs", import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [tool, "--out", folder], { encoding: "utf8" });
  if (status !== 0 && status !== UNAVAILABLE) throw new Error(`${tool}: exit code ${status}:\n${stderr}`);
  const made = status === 0 ? { path: join(folder, `omnishim-linux-${process.arch}`) } : { skipped: stderr.trim() };
  project.provide("executable", made);
  return () => rmSync(folder, { recursive: true, force: true });
}
