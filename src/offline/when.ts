/** Points in time as people give them. */
import { EXIT, Problem } from "./problem.ts";

const AGO = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DATE = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?$/;

/**
 * Unix milliseconds of "2026-11-22 04:30", "2026-11-22T04:30:00Z", unix seconds or "15m" (before `nowMs`). A date without
 * a zone is local time. @throws Problem that names `option`
 */
export function parseWhen(text: string, nowMs: number, option: string): number {
  const ago = AGO.exec(text);
  if (ago) return nowMs - Number(ago[1]) * (UNIT_MS[ago[2] as string] as number);
  if (/^\d{9,10}(?:\.\d+)?$/.test(text)) return Number(text) * 1000;
  // A date alone would be UTC to Date.parse.
  const parsed = DATE.test(text)
    ? Date.parse(text.length === 10 ? `${text}T00:00:00` : text.replace(" ", "T"))
    : Number.NaN;
  if (!Number.isNaN(parsed)) return parsed;
  throw new Problem(
    `${option}: "${text}" is no time; give "2026-11-22 04:30", "2026-11-22T04:30:00Z", unix seconds or "15m" for 15 minutes ago`,
    EXIT.failed,
  );
}
