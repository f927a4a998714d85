/** The steps that all commands which read a configuration share. */
import { factories } from "../components.ts";
import type { ConfigNode, Source } from "../config/node.ts";
import { processSurroundings, type Surroundings } from "../config/providers.ts";
import { formatProblems } from "../config/report.ts";
import { type Problem, resolveConfig } from "../config/resolve.ts";
import { makePlan, type Plan } from "../kernel/plan.ts";
import { listenHostProblem } from "../transport/listen.ts";
import { CommandError, type Edge } from "./edge.ts";
import type { ConfigOptions } from "./options.ts";

/** A configuration without problems. */
export interface Loaded {
  readonly plan: Plan;
  /** Merged and expanded, as written otherwise: no defaults, secrets in the clear. */
  readonly root: ConfigNode;
  readonly warnings: readonly string[];
}

/** A configuration as it was read, with or without problems. */
export interface Read {
  /** Undefined when there are problems. */
  readonly plan: Plan | undefined;
  readonly root: ConfigNode;
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

/**
 * Reads and checks the configuration; `fallback` is what there is without --config.
 * @throws CommandError when the command line makes no sense; what is wrong with the configuration is in the answer
 */
export async function readConfig(options: ConfigOptions, edge: Edge, fallback?: Source): Promise<Read> {
  const around: Surroundings = { ...processSurroundings, env: edge.env };
  const configs = options.config.length === 0 && fallback !== undefined ? [fallback] : options.config;
  if (configs.length === 0) throw new CommandError("at least one config flag must be provided");
  const hostProblem = listenHostProblem(edge.env);
  if (hostProblem !== undefined) throw new CommandError(hostProblem);
  const {
    root,
    problems: unresolved,
    unreadable,
    warnings,
  } = await resolveConfig({ configs, sets: options.set }, around);
  if (unreadable) return { plan: undefined, root, problems: unresolved, warnings: [] };
  const broken = unresolved.map((problem) => problem.path);
  const made = makePlan(root, factories, broken);
  const problems = [...unresolved, ...made.problems];
  if (!made.plan) return { plan: undefined, root, problems, warnings };
  const gates = options.featureGates.map(
    (gates) => `--feature-gates ${gates} is accepted and has no effect: this program has no feature gates`,
  );
  return { plan: made.plan, root, problems, warnings: [...gates, ...warnings, ...made.warnings] };
}

/**
 * Reads and checks the configuration; `fallback` is what there is without --config.
 * @throws CommandError with every problem, ready to print.
 */
export async function loadConfig(options: ConfigOptions, edge: Edge, fallback?: Source): Promise<Loaded> {
  const { plan, root, problems, warnings } = await readConfig(options, edge, fallback);
  if (!plan) throw problemsError(problems, warnings);
  return { plan, root, warnings };
}

/** @param warnings about the text itself, such as unset variables: they may be why something is wrong. */
function problemsError(problems: Parameters<typeof formatProblems>[0], warnings: readonly string[] = []): CommandError {
  const text = [...warnings.map((warning) => `Warning: ${warning}\n`), formatProblems(problems)].join("\n");
  return new CommandError("invalid configuration", text);
}
