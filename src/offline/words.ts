/** Numbers and lists for people. */

/** 185000 -> "185,000". */
export function formatCount(count: number): string {
  // toLocaleString would load the system's locale data first, which takes longer than all else that is printed.
  return String(count).replace(/\B(?=(?:\d{3})+$)/g, ",");
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** 34560609 -> "34.6 MB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toPrecision(3)} ${UNITS[unit]}`;
}

/** The first few, and how many more. */
export function listed(items: readonly string[], most: number): string {
  const more = items.length - most;
  return more > 0 ? `${items.slice(0, most).join(", ")} and ${formatCount(more)} more` : items.join(", ");
}
