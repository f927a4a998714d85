import { readFileSync } from "node:fs";
import type { BuildInfo } from "../kernel/api.ts";

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
  readonly engines: { readonly node: string };
};

/** Name and version of this build, from package.json. */
export const buildInfo: BuildInfo = {
  command: "omnishim",
  description: "OpenTelemetry shim for vLLM and Omni Proxy",
  version: manifest.version,
};

/** The oldest Node that package.json allows: "20.19". */
export const oldestNode: string = manifest.engines.node.replace(/^>=\s*/, "");
