/** The hosts' clocks as `omnishim collect` found them. */
import { basename } from "node:path";
import type { ClockEstimate, HostClocks } from "../../omni/clock.ts";
import { clockOf, readRecord } from "../collect/record.ts";

/** By host and by the label in the file's name, which the logs of the host have too. What tells no clock is left out. */
export async function readHostClocks(records: readonly string[]): Promise<HostClocks> {
  const clocks = new Map<string, ClockEstimate>();
  for (const path of records) {
    const record = await readRecord(path);
    const clock = record && clockOf(record);
    if (!clock) continue;
    const label = /^collect_(.+)\.json$/.exec(basename(path))?.[1];
    for (const name of [record.host, label]) if (name !== undefined) clocks.set(name, clock);
  }
  return clocks;
}
