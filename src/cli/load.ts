/** The steps that all commands which read a configuration share. */
import { factories } from "../components.ts";
import type { ConfigNode, Source } from "../config/node.ts";
import { processSurroundings, type Surroundings } from "../config/providers.ts";
import { formatProblems } from "../config/report.ts";
import { resolveConfig } from "../config/resolve.ts";
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

/**
 * Reads and checks the configuration; `fallback` is what there is without --config.
 * @throws CommandError with every problem, ready to print.
 */
export async function loadConfig(options: ConfigOptions, edge: Edge, fallback?: Source): Promise<Loaded> {
  const around: Surroundings = { ...processSurroundings, env: edge.env };
  const configs = options.config.length === 0 && fallback !== undefined ? [fallback] : options.config;
  if (configs.length === 0) throw new CommandError("at least one config flag must be provided");
  const hostProblem = listenHostProblem(edge.env);
  if (hostProblem !== undefined) throw new CommandError(hostProblem);
  const resolved = await resolveConfig({ configs, sets: options.set }, around);
  if (resolved.unreadable) throw problemsError(resolved.problems);
  const broken = resolved.problems.map((problem) => problem.path);
  const { plan, problems, warnings } = makePlan(resolved.root, factories, broken);
  if (!plan) throw problemsError([...resolved.problems, ...problems], resolved.warnings);
  const gates = options.featureGates.map(
    (gates) => `--feature-gates ${gates} is accepted and has no effect: this program has no feature gates`,
  );
  return { plan, root: resolved.root, warnings: [...gates, ...resolved.warnings, ...warnings] };
}

/** @param warnings about the text itself, such as unset variables: they may be why something is wrong. */
function problemsError(problems: Parameters<typeof formatProblems>[0], warnings: readonly string[] = []): CommandError {
  const text = [...warnings.map((warning) => `Warning: ${warning}\n`), formatProblems(problems)].join("\n");
  return new CommandError("invalid configuration", text);
}
