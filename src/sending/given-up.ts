import type { ConsumeError } from "../kernel/errors.ts";
import type { DeadLetterFolder } from "./dead-letter.ts";
import type { FailedPart } from "./divide.ts";
import type { SendingTelemetry } from "./telemetry.ts";

/** Parts that are gone. */
export interface Loss {
  readonly items: number;
  readonly lastError: ConsumeError;
}

/**
 * Counts what was given up, and keeps what was refused for good where there is a folder for it.
 * @returns what is in no folder, if anything
 */
export async function settleFailed(
  failed: readonly FailedPart[],
  telemetry: SendingTelemetry,
  folder: DeadLetterFolder | undefined,
): Promise<Loss | undefined> {
  telemetry.failed(itemsOf(failed));
  if (!folder) return lossOf(failed);
  const [first, ...rest] = failed.filter(({ failure }) => failure.disposition === "permanent");
  if (!first) return lossOf(failed);
  try {
    telemetry.keptDeadLetter(await folder.keep([first, ...rest]), first.failure);
    return lossOf(failed.filter(({ failure }) => failure.disposition !== "permanent"));
  } catch (error) {
    telemetry.lostDeadLetter(error, itemsOf([first, ...rest]));
    return lossOf(failed);
  }
}

function itemsOf(failed: readonly FailedPart[]): number {
  return failed.reduce((sum, { part }) => sum + part.items, 0);
}

function lossOf(failed: readonly FailedPart[]): Loss | undefined {
  const last = failed.at(-1);
  return last && { items: itemsOf(failed), lastError: last.failure };
}
