/** The record of a host: what was collected, of which state of its files, and what its clock was. Beside the logs. */
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import type { ClockEstimate } from "../../omni/clock.ts";
import { parseTracking } from "../clocks/chrony.ts";

/** A file at the other side as it was when it was collected. */
export interface FileState {
  readonly size: number;
  /** Unix seconds. */
  readonly mtime: number;
  /** Inode and device: the same file, whatever it is called. */
  readonly inode: string;
}

export interface HostRecord {
  /** As upstream addresses name it. */
  readonly host: string;
  /** ISO 8601. */
  readonly collectedAt: string;
  /** What `chronyc tracking` printed; "" where it is not there. */
  readonly tracking: string;
  /** By name below the target folder. */
  readonly files: ReadonlyMap<string, FileState>;
}

/** How far the host's clock was ahead, where chrony said it. */
export function clockOf(record: HostRecord): ClockEstimate | undefined {
  return parseTracking(record.tracking);
}

/** Reads a record; undefined where there is none or it is something else (then everything is compared anew). */
export async function readRecord(path: string): Promise<HostRecord | undefined> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(path, "utf8"));
  } catch {
    return undefined;
  }
  const { host, collected_at, tracking, files } = (parsed ?? {}) as Record<string, unknown>;
  if (typeof host !== "string" || typeof tracking !== "string") return undefined;
  const known = Object.entries((files ?? {}) as Record<string, FileState>).filter(([, state]) => isState(state));
  return {
    host,
    collectedAt: typeof collected_at === "string" ? collected_at : "",
    tracking,
    files: new Map(known),
  };
}

function isState(state: FileState | null): boolean {
  return Number.isSafeInteger(state?.size) && Number.isSafeInteger(state?.mtime) && typeof state?.inode === "string";
}

/** Writes it whole or not at all. */
export async function writeRecord(path: string, record: HostRecord): Promise<void> {
  const clock = clockOf(record);
  const text = JSON.stringify(
    {
      host: record.host,
      collected_at: record.collectedAt,
      clock: clock && { offset_seconds: clock.offsetUs / 1e6, uncertainty_seconds: clock.uncertaintyUs / 1e6 },
      tracking: record.tracking,
      files: Object.fromEntries(record.files),
    },
    undefined,
    1,
  );
  const draft = `${path}.part`;
  try {
    await writeFile(draft, `${text}\n`);
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
