import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

/** Name of a peer -> where it is, or why it is not here. */
export type Peers = Readonly<Record<string, { readonly path?: string; readonly skipped?: string }>>;

declare module "vitest" {
  export interface ProvidedContext {
    peers: Peers;
  }
}

/** Builds what is missing from the cache (see tools/peers.mjs) and tells the tests where everything is. */
export default function setup(project: TestProject): void {
  const tool = fileURLToPath(new URL("../../tools/peers.mjs", import.meta.url));
  const answer = execFileSync(process.execPath, [tool, "build", "--json"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  project.provide("peers", JSON.parse(answer) as Peers);
}
