/** Names of rotated files, as lumberjack gives them: "traces-2026-11-22T10-30-00.000.json" beside "traces.json". Pure. */
import { parse } from "node:path";

/** How backups are named and how long they are kept. */
export interface BackupRules {
  /** Days; 0 keeps any age. */
  readonly maxDays: number;
  /** 0 keeps any number. */
  readonly maxBackups: number;
  /** The time in the name is local instead of UTC. */
  readonly localTime: boolean;
}

const DAY_MS = 86_400_000;
const STAMP = /^(\d{4})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)\.(\d{3})$/;

/** The name (without folder) for the file at `path` when it is rotated at `unixMs`. */
export function backupName(path: string, unixMs: number, localTime: boolean): string {
  const { name, ext } = parse(path);
  // Local wall-clock time is UTC shifted by the zone's offset at that moment.
  const shifted = localTime ? unixMs - new Date(unixMs).getTimezoneOffset() * 60_000 : unixMs;
  return `${name}-${new Date(shifted).toISOString().replaceAll(":", "-").replace("Z", "")}${ext}`;
}

/** Which of the names in the folder of `path` are backups of it that are too old or too many. */
export function expiredBackups(
  path: string,
  names: readonly string[],
  rules: BackupRules,
  nowUnixMs: number,
): string[] {
  const { name, ext } = parse(path);
  const newestFirst = names
    .flatMap((candidate) => {
      if (!candidate.startsWith(`${name}-`) || !candidate.endsWith(ext)) return [];
      const time = parseStamp(candidate.slice(name.length + 1, candidate.length - ext.length), rules.localTime);
      return time === undefined ? [] : [{ candidate, time }];
    })
    .sort((a, b) => b.time - a.time);
  return newestFirst
    .filter(
      ({ time }, rank) =>
        (rules.maxBackups > 0 && rank >= rules.maxBackups) ||
        (rules.maxDays > 0 && nowUnixMs - time > rules.maxDays * DAY_MS),
    )
    .map(({ candidate }) => candidate);
}

function parseStamp(stamp: string, localTime: boolean): number | undefined {
  const match = STAMP.exec(stamp);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second, ms] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return localTime
    ? new Date(year, month - 1, day, hour, minute, second, ms).getTime()
    : Date.UTC(year, month - 1, day, hour, minute, second, ms);
}
