import { arch, platform } from "node:process";

/** "omnishim/0.1.0 (linux/x64)": how exporters name this program, in the Collector's form. */
export function userAgent(build: { readonly command: string; readonly version: string }): string {
  return `${build.command}/${build.version} (${platform}/${arch})`;
}
