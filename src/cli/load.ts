/** The steps that all commands which read a configuration share. */
import { type Command, Option } from "commander";
import { factories } from "../components.ts";
import type { ConfigNode, Source } from "../config/node.ts";
import { processSurroundings, type Surroundings } from "../config/providers.ts";
import { formatProblems } from "../config/report.ts";
import { resolveConfig } from "../config/resolve.ts";
import { makePlan, type Plan } from "../kernel/plan.ts";
import { CommandError, type Edge } from "./edge.ts";

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

/** A configuration without problems. */
export interface Loaded {
  readonly plan: Plan;
  /** Merged and expanded, as written otherwise: no defaults, secrets in the clear. */
  readonly root: ConfigNode;
  readonly warnings: readonly string[];
}

/**
 * Reads and checks the configuration; `fallback` is what there is without --config.
 * @throws CommandError with every problem, ready to print.
 */
export async function loadConfig(options: ConfigOptions, edge: Edge, fallback?: Source): Promise<Loaded> {
  const around: Surroundings = { ...processSurroundings, env: edge.env };
  const configs = options.config.length === 0 && fallback !== undefined ? [fallback] : options.config;
  if (configs.length === 0) throw new CommandError("at least one config flag must be provided");
  const resolved = await resolveConfig({ configs, sets: options.set }, around);
  if (resolved.unreadable) throw problemsError(resolved.problems);
  const broken = resolved.problems.map((problem) => problem.path);
  const { plan, problems, warnings } = makePlan(resolved.root, factories, broken);
  if (!plan) throw problemsError([...resolved.problems, ...problems]);
  const gates = options.featureGates.map(
    (gates) => `--feature-gates ${gates} is accepted and has no effect: this program has no feature gates`,
  );
  return { plan, root: resolved.root, warnings: [...gates, ...resolved.warnings, ...warnings] };
}

function problemsError(problems: Parameters<typeof formatProblems>[0]): CommandError {
  return new CommandError("invalid configuration", formatProblems(problems));
}
