import { stringify } from "yaml";
import { toPlain } from "../config/node.ts";
import { builtInConfig } from "./defaults.ts";
import { CommandError, type Edge } from "./edge.ts";
import { loadConfig } from "./load.ts";
import type { ConfigOptions } from "./options.ts";

/** What to print, and how. */
export interface PrintOptions extends ConfigOptions {
  readonly mode: string;
  readonly format: string;
}

/**
 * `omnishim print-config`: `redacted` is what would run, defaults filled in and secrets hidden; `unredacted` is the
 * configuration merged and expanded, without defaults and with its secrets.
 * @throws CommandError
 */
export async function printConfig(options: PrintOptions, edge: Edge): Promise<void> {
  const mode = options.mode.toLowerCase();
  if (mode !== "redacted" && mode !== "unredacted")
    throw new CommandError(`invalid mode "${options.mode}": modes are: redacted, unredacted`);
  const format = options.format.toLowerCase();
  if (format !== "yaml" && format !== "json")
    throw new CommandError(`unrecognized print format: ${options.format}: formats are: yaml, json`);
  const { plan, root, warnings } = await loadConfig(options, edge, builtInConfig(edge.env).source);
  for (const warning of warnings) edge.stderr.write(`Warning: ${warning}\n`);
  // Through JSON: settings that are not set have no line.
  const value: unknown = JSON.parse(JSON.stringify(mode === "redacted" ? plan.effective : toPlain(root)));
  edge.stdout.write(format === "json" ? `${JSON.stringify(value, null, 2)}\n` : stringify(value, { lineWidth: 0 }));
}
