/** nginx writes local time without a zone; these turn it into unix time. */

const offsets = new Map<string, number>();
const formats = new Map<string, Intl.DateTimeFormat>();
/** Offsets are looked up once a quarter hour and zone: zones change on such borders only. */
const STEP = 900;
const OFFSET = /^([+-])(\d\d):(\d\d)$/;

/**
 * How far the zone is ahead of UTC, in seconds, at a local time.
 * @param localAsUtc the local wall time read as if it were UTC, unix seconds
 * @param zone "Local" (the process's zone), an IANA name or an offset such as "+08:00"; an unknown name is taken for UTC
 */
export function zoneOffsetSeconds(localAsUtc: number, zone: string): number {
  const step = Math.floor(localAsUtc / STEP);
  const key = `${zone} ${step}`;
  let offset = offsets.get(key);
  if (offset === undefined) {
    if (offsets.size > 1000) offsets.clear();
    offset = lookUp(step * STEP, zone);
    offsets.set(key, offset);
  }
  return offset;
}

function lookUp(localAsUtc: number, zone: string): number {
  if (zone === "UTC") return 0;
  const fixed = OFFSET.exec(zone);
  if (fixed) return (fixed[1] === "-" ? -1 : 1) * (Number(fixed[2]) * 3600 + Number(fixed[3]) * 60);
  if (zone === "Local" || zone === "") {
    const utc = new Date(localAsUtc * 1000);
    const local = new Date(
      utc.getUTCFullYear(),
      utc.getUTCMonth(),
      utc.getUTCDate(),
      utc.getUTCHours(),
      utc.getUTCMinutes(),
      utc.getUTCSeconds(),
    );
    return -local.getTimezoneOffset() * 60;
  }
  try {
    // Twice, because the first look uses local time as if it were UTC.
    const first = ianaOffset(localAsUtc, zone);
    return ianaOffset(localAsUtc - first, zone);
  } catch {
    return 0;
  }
}

/** @throws RangeError for a name that is no zone */
function ianaOffset(unix: number, zone: string): number {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    formats.set(zone, format);
  }
  const parts = Object.fromEntries(format.formatToParts(unix * 1000).map(({ type, value }) => [type, Number(value)]));
  const at = (name: string): number => parts[name] ?? 0;
  return Date.UTC(at("year"), at("month") - 1, at("day"), at("hour"), at("minute"), at("second")) / 1000 - unix;
}
