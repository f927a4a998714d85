/** When a line was written, as far as it tells: what files are read in order by. */
import { find, isDigit } from "../../omni/bytes.ts";

const TIMESTAMP = Buffer.from("Timestamp:");
const START_TIME = Buffer.from("start_time:");
const ACTION_START = Buffer.from("<<<Action: Start to schedule; Timestamp:");
const INJECT = Buffer.from("****Action: Inject ");
const ROW_TIME = Buffer.from('time:"');
const PREFIX_BYTES = 19;
/** An omnilogger line names its time this near to its beginning. */
const ENGINE_REACH = 300;
/** A row's `time` is among its first fields. */
const ROW_REACH = 4096;
/** Unix seconds have ten digits (until 2286); boot seconds have fewer. */
const UNIX_DIGITS = 10;

/** Reads the times of one file's lines. nginx's prefix is local time, so it needs to know how local. */
export class LineTimes {
  readonly #aheadSeconds: (localAsUtc: number) => number;
  readonly #lastPrefix = Buffer.alloc(PREFIX_BYTES);
  #lastPrefixMs = Number.NaN;

  /** `aheadSeconds`: how far the log's local time is ahead of UTC at a local time (unix seconds read as if UTC). */
  constructor(aheadSeconds: (localAsUtc: number) => number) {
    this.#aheadSeconds = aheadSeconds;
  }

  /** Unix milliseconds of the line `bytes[from, to)`; NaN where it does not tell. */
  read(bytes: Buffer, from: number, to: number): number {
    if (isNginxLine(bytes, from, to)) return this.#prefix(bytes, from);
    if (bytes[from] === 123) return rowTime(bytes, from, to);
    return engineTime(bytes, from, to);
  }

  #prefix(bytes: Buffer, from: number): number {
    for (let i = PREFIX_BYTES - 1; i >= 0; i--) {
      if (bytes[from + i] === this.#lastPrefix[i]) continue;
      bytes.copy(this.#lastPrefix, 0, from, from + PREFIX_BYTES);
      const second = prefixSecond(bytes, from);
      this.#lastPrefixMs = (second - this.#aheadSeconds(second)) * 1000;
      break;
    }
    return this.#lastPrefixMs;
  }
}

/** True for a line that begins with nginx's `YYYY/MM/DD HH:MM:SS [`. */
export function isNginxLine(bytes: Buffer, from: number, to: number): boolean {
  return (
    to - from > 28 &&
    bytes[from + 4] === 47 &&
    bytes[from + 7] === 47 &&
    bytes[from + 13] === 58 &&
    bytes[from + 20] === 91
  );
}

/** nginx's prefix, local time read as if it were UTC, unix seconds; NaN when it is none. */
function prefixSecond(bytes: Buffer, from: number): number {
  const text = bytes.toString("latin1", from, from + PREFIX_BYTES);
  const parts = /^(\d{4})\/(\d\d)\/(\d\d) (\d\d):(\d\d):(\d\d)$/.exec(text);
  if (!parts) return Number.NaN;
  const [y, mo, d, h, mi, s] = parts.slice(1).map(Number) as [number, number, number, number, number, number];
  return Date.UTC(y, mo - 1, d, h, mi, s) / 1000;
}

/**
 * How far an nginx line's prefix is ahead of the unix time that the same line names, seconds; undefined where it names
 * none. Only `Start to schedule` and the Inject lines do (docs/merge.md, Clocks).
 */
export function prefixAhead(bytes: Buffer, from: number, to: number): number | undefined {
  if (!isNginxLine(bytes, from, to)) return undefined;
  const start = find(bytes, ACTION_START, from, to);
  const inject = start < 0 ? find(bytes, INJECT, from, to) : -1;
  if (start < 0 && inject < 0) return undefined;
  const mark = start >= 0 ? TIMESTAMP : START_TIME;
  const at = find(bytes, mark, start >= 0 ? start : inject, to);
  const unix = at < 0 ? Number.NaN : unixSeconds(bytes, at + mark.length, to);
  const ahead = prefixSecond(bytes, from) - Math.floor(unix);
  return Number.isNaN(ahead) ? undefined : ahead;
}

function engineTime(bytes: Buffer, from: number, to: number): number {
  const at = find(bytes, TIMESTAMP, from, Math.min(to, from + ENGINE_REACH));
  return at < 0 ? Number.NaN : unixSeconds(bytes, at + TIMESTAMP.length, to) * 1000;
}

function rowTime(bytes: Buffer, from: number, to: number): number {
  const end = Math.min(to, from + ROW_REACH);
  for (let at = find(bytes, ROW_TIME, from, end); at >= 0; at = find(bytes, ROW_TIME, at + 1, end)) {
    const before = bytes[at - 1];
    if (before === 123 || before === 44) return unixSeconds(bytes, at + ROW_TIME.length, to) * 1000; // { or ,
  }
  return Number.NaN;
}

/** Ten digits and up to three decimals at `at`, seconds; NaN for anything else. More digits than ten (nanoseconds) are cut. */
function unixSeconds(bytes: Buffer, at: number, to: number): number {
  let seconds = 0;
  let p = at;
  for (; p < to && p - at < UNIX_DIGITS && isDigit(bytes[p]); p++) seconds = seconds * 10 + (bytes[p] as number) - 48;
  if (p - at < UNIX_DIGITS) return Number.NaN;
  if (bytes[p] !== 46) return seconds;
  let scale = 0.1;
  for (p++; p < to && scale > 0.0005 && isDigit(bytes[p]); p++) {
    seconds += ((bytes[p] as number) - 48) * scale;
    scale /= 10;
  }
  return seconds;
}
