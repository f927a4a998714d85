import { availableParallelism } from "node:os";
import { parseDuration } from "../config/duration.ts";
import type { AnyFactory, ComponentId } from "../kernel/api.ts";
import { formatId } from "../kernel/id.ts";
import type { Plan } from "../kernel/plan.ts";
import { Service } from "../kernel/service.ts";
import { systemClock } from "../telemetry/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { observeProcess } from "../telemetry/process.ts";
import { buildInfo } from "./build-info.ts";
import { builtInConfig } from "./defaults.ts";
import { CommandError, type Edge, StopSignal } from "./edge.ts";
import { type Loaded, loadConfig } from "./load.ts";
import type { ConfigOptions } from "./options.ts";
import { reloadOnHangup } from "./reload.ts";
import { openSupervisor } from "./supervisor.ts";
import { openLog, openMetricsPages, processResource } from "./telemetry.ts";

/** How `omnishim` itself is called. */
export interface RunOptions extends ConfigOptions {
  readonly shutdownTimeout: string;
}

/**
 * Runs until `edge.stop` aborts or a component fails for good.
 * @returns the exit code: 0 after a stop that was asked for and in which no component failed, else 1. What an exporter could not
 * send in time it logs and counts itself.
 * @throws CommandError when nothing could be started.
 */
export async function run(options: RunOptions, edge: Edge): Promise<number> {
  const timeoutMs = parseDuration(options.shutdownTimeout);
  if (timeoutMs === undefined || timeoutMs < 0)
    throw new CommandError(`invalid --shutdown-timeout "${options.shutdownTimeout}": write a duration such as 8s`);
  const builtIn = options.config.length === 0 ? builtInConfig(edge.env) : undefined;
  const { plan, warnings } = await loadConfig(options, edge, builtIn?.source);
  const log = openLog(plan.telemetry, edge);
  try {
    for (const warning of warnings) log.logger.warn(warning);
    logAliases(plan, log.logger);
    const load = (): Promise<Loaded> => loadConfig(options, edge, builtIn?.source);
    return await runPlan(plan, edge, log.logger, timeoutMs, builtIn?.says ?? [], load);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const [, key] = /give (\S+) another port/.exec(message) ?? [];
    // Without a file there is no line to change.
    throw new CommandError(builtIn && key ? `${message}: --set ${key}=localhost:PORT` : message);
  } finally {
    log.close();
  }
}

async function runPlan(
  plan: Plan,
  edge: Edge,
  logger: Logger,
  timeoutMs: number,
  says: readonly string[],
  load: () => Promise<Loaded>,
): Promise<number> {
  logger.info(`Starting ${buildInfo.command}...`, { Version: buildInfo.version, NumCPU: availableParallelism() });
  const metrics = createMetrics();
  observeProcess(metrics, processResource(plan.telemetry, buildInfo));
  // Nothing that listens, as with a nop receiver, would end the process.
  const alive = setInterval(() => {}, 2 ** 30);
  const supervisor = openSupervisor({ env: edge.env, clock: systemClock, logger });
  try {
    const service = new Service(plan, { logger, metrics, clock: systemClock, build: buildInfo });
    await service.start(timeoutMs);
    // After the pipelines: the page must never take a port that one of them wants.
    const pages = await openMetricsPages(plan.telemetry, metrics, logger);
    for (const line of says) logger.info(line);
    reloadOnHangup({ service, plan, logger, edge, timeoutMs, load });
    logger.info("Everything is ready. Begin running and processing data.");
    void supervisor.ready();

    const cause = await Promise.race([stopped(edge.stop), service.failure]);
    if (cause instanceof StopSignal) logger.info("Received signal from OS", { signal: cause.name });
    else logger.error("The program cannot go on and stops", { error: cause });
    logger.info("Starting shutdown...");
    void supervisor.stopping();
    const errors = await service.shutdown(timeoutMs);
    await pages.close();
    for (const error of errors) logger.error(error.message);
    logger.info("Shutdown complete.");
    return cause instanceof StopSignal && errors.length === 0 ? 0 : 1;
  } finally {
    supervisor.close();
    clearInterval(alive);
  }
}

/** Resolves with the reason once `stop` aborts. */
function stopped(stop: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    if (stop.aborted) resolve(stop.reason);
    else stop.addEventListener("abort", () => resolve(stop.reason), { once: true });
  });
}

/** The Collector warns here; both names mean the same and stay. */
function logAliases(plan: Plan, logger: Logger): void {
  const seen = new Set<string>();
  const all: { id: ComponentId; factory: AnyFactory }[] = [
    ...plan.receivers.values(),
    ...plan.processors.values(),
    ...plan.exporters.values(),
    ...plan.connectors.values(),
    ...plan.extensions.values(),
  ];
  for (const { id, factory } of all) {
    if (id.type === factory.type || seen.has(`${factory.kind}:${id.type}`)) continue;
    seen.add(`${factory.kind}:${id.type}`);
    logger.info(`"${id.type}" is an alias of the ${factory.kind} "${factory.type}"`, { id: formatId(id) });
  }
}
