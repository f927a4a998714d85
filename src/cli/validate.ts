import type { Edge } from "./edge.ts";
import { loadConfig } from "./load.ts";
import type { ConfigOptions } from "./options.ts";

/**
 * `omnishim validate --config FILE`: silent when the file can be run, else every problem with its place.
 * Warnings go to stderr and leave the exit code 0.
 * @throws CommandError
 */
export async function validate(options: ConfigOptions, edge: Edge): Promise<void> {
  const { warnings } = await loadConfig(options, edge);
  for (const warning of warnings) edge.stderr.write(`Warning: ${warning}\n`);
}
