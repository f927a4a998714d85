/** Options that several commands share. No command's code is loaded for them. */
import { type Command, Option } from "commander";

/** Time to stop in: below the ten seconds after which `docker stop` kills, and far below Kubernetes' thirty. */
export const DEFAULT_SHUTDOWN_TIMEOUT = "8s";

/** The options that choose a configuration. */
export interface ConfigOptions {
  readonly config: readonly string[];
  readonly set: readonly string[];
  readonly featureGates: readonly string[];
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

/** Adds --config, --set and --feature-gates, each of which can be repeated. */
export function addConfigOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--config <location>", "file to read, or a URI (file:, env:, yaml:); can be repeated, later ones win")
        .argParser(collect)
        .default([], "the built-in default"),
    )
    .addOption(
      new Option(
        "--set <key=value>",
        "one setting, such as processors::batch::timeout=2s; can be repeated, wins over files",
      )
        .argParser(collect)
        .default([], "none"),
    )
    .addOption(
      new Option("--feature-gates <gates>", "accepted for the Collector's command lines, without effect")
        .argParser(collect)
        .default([], "none"),
    );
}

/** `omnishim --config a validate --config b` means both, in this order. */
export function allOptions<O extends ConfigOptions>(command: Command): O {
  const own = command.opts<O>();
  const above = command.parent?.opts<ConfigOptions>();
  return {
    ...own,
    config: [...(above?.config ?? []), ...own.config],
    set: [...(above?.set ?? []), ...own.set],
    featureGates: [...(above?.featureGates ?? []), ...own.featureGates],
  };
}
