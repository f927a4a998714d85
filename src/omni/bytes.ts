/** Searching in part of a buffer, where Buffer's own methods would look at all of it. */

/** True for the byte of a decimal digit. */
export function isDigit(c: number | undefined): boolean {
  return c !== undefined && c >= 48 && c <= 57;
}

/** True when `bytes[at, to)` begins with the ASCII `text`. */
export function starts(bytes: Buffer, at: number, to: number, text: string): boolean {
  if (at + text.length > to) return false;
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** True when `bytes[at, to)` begins with `wanted`. */
export function startsWith(bytes: Buffer, at: number, to: number, wanted: Buffer): boolean {
  if (at + wanted.length > to) return false;
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}

/** The first place of `wanted` in `bytes[from, to)`, or -1. */
export function find(bytes: Buffer, wanted: Buffer, from: number, to: number): number {
  const first = wanted[0];
  const last = to - wanted.length;
  for (let at = from; at <= last; at++) if (bytes[at] === first && startsWith(bytes, at, to, wanted)) return at;
  return -1;
}

/** The last place of `wanted` in `bytes[from, to)`, or -1. */
export function findLast(bytes: Buffer, wanted: Buffer, from: number, to: number): number {
  for (let at = to - wanted.length; at >= from; at--) if (startsWith(bytes, at, to, wanted)) return at;
  return -1;
}
