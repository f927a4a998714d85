/** Numbers as the doctor prints them. */

/** "512 MiB", "1.5 GiB". */
export function bytesText(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) || value >= 10 ? Math.floor(value) : value.toFixed(1)} ${units[unit]}`;
}

/** "a", "a and b", "a, b and 3 more". */
export function listText(items: readonly string[], most = 3): string {
  if (items.length <= 1) return items.join();
  if (items.length > most) return `${items.slice(0, most - 1).join(", ")} and ${items.length - most + 1} more`;
  return `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}

/** "2 of 10 (20 %)". */
export function shareText(part: number, whole: number): string {
  return `${part} of ${whole} (${whole === 0 ? 0 : Math.floor((100 * part) / whole)} %)`;
}
