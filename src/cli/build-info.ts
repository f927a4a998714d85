import { readFileSync } from "node:fs";
import type { BuildInfo } from "../kernel/api.ts";

/** Name and version of this build, from package.json. */
export const buildInfo: BuildInfo = {
  command: "omnishim",
  description: "OpenTelemetry shim for vLLM and Omni Proxy",
  version: readVersion(),
};

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return (manifest as { version: string }).version;
}
