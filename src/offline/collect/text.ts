/** What `omnishim collect` says when it is done. */
import { pad, printable } from "../../omni/text.ts";
import { formatBytes, formatCount } from "../words.ts";
import type { CollectReport } from "./collect.ts";
import type { HostReport } from "./host.ts";

const HEAD = ["HOST", "STATE", "FETCHED", "CONTINUED", "WHOLE", "BYTES", "CLOCK", "SECONDS"];
/** Columns of words; the others hold numbers. */
const LEFT = new Set([0, 1]);

/** A table of hosts, what went wrong with which, and one line over all; without a line feed at the end. */
export function describeCollection({ hosts, target, dryRun, failed }: CollectReport): string {
  const rows = [HEAD, ...hosts.map(rowOf)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) =>
        LEFT.has(column) ? pad(cell, widths[column] as number) : cell.padStart(widths[column] as number),
      )
      .join("  ")
      .trimEnd(),
  );
  for (const { label, problem } of hosts) if (problem !== undefined) lines.push(`${printable(label)}: ${problem}`);
  const files = hosts.reduce((sum, { fetched, continued }) => sum + fetched + continued, 0);
  const bytes = hosts.reduce((sum, host) => sum + host.bytes, 0);
  const what = `${formatCount(files)} files, ${formatBytes(bytes)}`;
  lines.push(
    `${dryRun ? `Would fetch ${what} into` : `${what} fetched into`} ${printable(target)}; ${formatCount(hosts.length - failed)} of ${formatCount(hosts.length)} hosts ok`,
  );
  return lines.join("\n");
}

function rowOf(host: HostReport): string[] {
  return [
    printable(host.label),
    host.state,
    formatCount(host.fetched),
    formatCount(host.continued),
    formatCount(host.whole),
    formatBytes(host.bytes),
    host.clock ? `${millis(host.clock.offsetSeconds, true)} ±${millis(host.clock.uncertaintySeconds, false)} ms` : "-",
    host.seconds.toFixed(1),
  ];
}

function millis(seconds: number, signed: boolean): string {
  const text = (seconds * 1000).toFixed(3);
  return signed && seconds >= 0 ? `+${text}` : text;
}
