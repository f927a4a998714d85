import { readTextAsset } from "../assets/assets.ts";
import type { BuildInfo } from "../kernel/api.ts";

const manifest = JSON.parse(readTextAsset("package.json")) as {
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
