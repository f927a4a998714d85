import type { Plan } from "../kernel/plan.ts";
import type { Service } from "../kernel/service.ts";
import type { Logger } from "../telemetry/logger.ts";
import { CommandError, type Edge } from "./edge.ts";

/** What a reload is given. */
export interface ReloadOptions {
  readonly service: Service;
  /** What runs now. */
  readonly plan: Plan;
  readonly logger: Logger;
  readonly edge: Edge;
  readonly timeoutMs: number;
  /** Reads and checks the configuration anew. @throws CommandError */
  load(): Promise<{ readonly plan: Plan; readonly warnings: readonly string[] }>;
}

/**
 * Takes the configuration anew at every hangup, one reload at a time; hangups that come meanwhile are one more reload
 * together. A configuration that cannot be taken leaves the running one as it is.
 */
export function reloadOnHangup(options: ReloadOptions): void {
  let isBusy = false;
  let isAskedAgain = false;
  const turn = async (): Promise<void> => {
    isBusy = true;
    do {
      isAskedAgain = false;
      await reload(options);
    } while (isAskedAgain);
    isBusy = false;
  };
  options.edge.onHangup?.(() => {
    isAskedAgain = true;
    if (!isBusy) void turn();
  });
}

async function reload({ service, plan: first, logger, edge, timeoutMs, load }: ReloadOptions): Promise<void> {
  if (edge.stop.aborted) return;
  logger.info("Received SIGHUP, reading the configuration again");
  try {
    const { plan, warnings } = await load();
    for (const warning of warnings) logger.warn(warning);
    if (JSON.stringify(plan.telemetry) !== JSON.stringify(first.telemetry))
      logger.warn("service::telemetry has changed: that takes effect with the next start of the program");
    const changes = await service.reload(plan, timeoutMs);
    logger.info("The configuration was reloaded", { ...changes });
  } catch (error) {
    logger.error("The new configuration cannot be taken; the program goes on with the one that it has", { error });
    if (error instanceof CommandError && error.text !== undefined) edge.stderr.write(`${error.text}\n`);
  }
}
