/** What `chronyc tracking` says of a host's clock. */
import type { ClockEstimate } from "../../omni/clock.ts";

/** The reference of a chronyd that follows nothing but itself (`local`), and of one that follows nothing at all. */
const NO_REFERENCE = /^(?:7F7F0101|00000000)$/i;

/**
 * How far the host's clock is ahead of the time that chrony keeps, and how well that is known: root dispersion and half
 * of the root delay, as chrony's documentation bounds it, and the RMS offset, because logs were written a while before.
 * Undefined where the text is something else or the clock is not synchronised.
 */
export function parseTracking(text: string): ClockEstimate | undefined {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const found = /^([^:]+?)\s*:\s*(.*?)\s*$/.exec(line);
    if (found) fields.set(found[1] as string, found[2] as string);
  }
  const system = /^(\d+\.\d+) seconds (slow|fast) of NTP time$/.exec(fields.get("System time") ?? "");
  const delay = seconds(fields.get("Root delay"));
  const dispersion = seconds(fields.get("Root dispersion"));
  const rms = seconds(fields.get("RMS offset"));
  const reference = /^[0-9A-F]{8}\b/i.exec(fields.get("Reference ID") ?? "")?.[0] ?? "00000000";
  if (!system || delay === undefined || dispersion === undefined || rms === undefined) return undefined;
  if (fields.get("Leap status") === "Not synchronised" || NO_REFERENCE.test(reference)) return undefined;
  const offsetUs = Math.round(Number(system[1]) * 1e6);
  return {
    offsetUs: system[2] === "fast" || offsetUs === 0 ? offsetUs : -offsetUs,
    uncertaintyUs: Math.max(1, Math.ceil((dispersion + delay / 2 + rms) * 1e6)),
  };
}

function seconds(text: string | undefined): number | undefined {
  const found = /^([+-]?\d+\.\d+) seconds$/.exec(text ?? "");
  return found ? Math.abs(Number(found[1])) : undefined;
}
