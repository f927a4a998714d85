/** Numbers in decimal: integers of 64 bits as two words, so that a timestamp takes no bigint, and doubles. */

/** The low 32 bits of what `parseDecimal` read last, unsigned. */
export let low = 0;
/** The high 32 bits. */
export let high = 0;

const ZERO = 0x30;
const MINUS = 0x2d;
const POINT = 0x2e;
const SMALL_E = 0x65;

/**
 * Reads the digits in `bytes[from, to)`, which must be nothing else, into `low` and `high`. False when the number takes
 * more than 64 bits; leading zeros are no matter.
 */
export function parseDecimal(bytes: Uint8Array, from: number, to: number): boolean {
  let start = from;
  while (start < to && bytes[start] === ZERO) start++;
  const digits = to - start;
  if (digits <= 15) {
    let value = 0;
    for (let at = start; at < to; at++) value = value * 10 + (bytes[at] as number) - ZERO;
    low = value >>> 0;
    high = Math.floor(value / 2 ** 32);
    return true;
  }
  if (digits > 20) return false;
  // value = front * 10^9 + back, front < 2^37. Split front at 16 bits and every product is exact.
  const split = to - 9;
  let front = 0;
  for (let at = start; at < split; at++) front = front * 10 + (bytes[at] as number) - ZERO;
  let back = 0;
  for (let at = split; at < to; at++) back = back * 10 + (bytes[at] as number) - ZERO;
  const upper = Math.floor(front / 2 ** 16) * 1e9;
  const lower = (upper % 2 ** 16) * 2 ** 16 + (front % 2 ** 16) * 1e9 + back;
  low = lower >>> 0;
  high = Math.floor(upper / 2 ** 16) + Math.floor(lower / 2 ** 32);
  return high < 2 ** 32;
}

/** Sets `low` and `high` to a bigint of up to 64 bits; false when it takes more. */
export function setWords(value: bigint): boolean {
  if (value >= 2n ** 64n) return false;
  low = Number(value & 0xffffffffn);
  high = Number(value >> 32n);
  return true;
}

/** Makes `low` and `high` the two's complement of what they are. */
export function negate(): void {
  low = -low >>> 0;
  high = (~high + (low === 0 ? 1 : 0)) >>> 0;
}

/** A decimal number with fraction or exponent, "1.50e1", as the integer that it is; `undefined` when it is none below 10^40. */
export function integralValue(text: string): bigint | undefined {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (match === null) return undefined;
  const [, sign, whole = "", fraction = "", exponent = "0"] = match;
  const digits = (whole + fraction).replace(/^0+/, "");
  if (digits === "") return 0n;
  const end = digits.length - fraction.length + Number(exponent); // how many digits stand before the point
  if (end < 0 || end > 40 || /[1-9]/.test(digits.slice(end))) return undefined;
  const value = BigInt(digits.slice(0, end).padEnd(end, "0") || "0");
  return sign ? -value : value;
}

/** Where the number ends that `shortDecimal` read last. */
export let shortDecimalEnd = 0;

const POWERS = Array.from({ length: 16 }, (_, i) => 10 ** i);

/**
 * The size, without its sign, of the bare number at `from` if it has at most 15 digits and no exponent: digits and power
 * of ten are then exact, and so their quotient is the nearest double. -1 for any other, legal or not.
 */
export function shortDecimal(bytes: Uint8Array, from: number): number {
  let at = bytes[from] === MINUS ? from + 1 : from;
  const start = at;
  let point = -1;
  let value = 0;
  for (; at < start + 17; at++) {
    const byte = bytes[at] as number;
    if (byte >= ZERO && byte <= 0x39) value = value * 10 + byte - ZERO;
    else if (byte === POINT && point < 0) point = at;
    else break;
  }
  const digits = at - start - (point < 0 ? 0 : 1);
  const next = (bytes[at] as number) | 0x20;
  if (digits === 0 || digits > 15 || next === SMALL_E || next === POINT || (next >= ZERO && next <= 0x39)) return -1;
  const whole = (point < 0 ? at : point) - start;
  if (whole === 0 || point === at - 1 || (whole > 1 && bytes[start] === ZERO)) return -1;
  shortDecimalEnd = at;
  return point < 0 ? value : value / (POWERS[at - 1 - point] as number);
}

/** Whether `low` and `high`, before `negate`, fit an integer of 32 or 64 bits with this sign. */
export function inRange(signed: boolean, bits: number, negative: boolean): boolean {
  if (negative && !signed) return low === 0 && high === 0;
  if (bits === 32) return high === 0 && (!signed || low < 2 ** 31 || (negative && low === 2 ** 31));
  return !signed || high < 2 ** 31 || (negative && high === 2 ** 31 && low === 0);
}

/** What `inRange` wants, in words. */
export function rangeText(signed: boolean, bits: number): string {
  return `an integer of ${bits} bits${signed ? "" : ", not negative"}`;
}

/** As Go's strconv.ParseFloat, which the Collector uses, without hexadecimal: "NaN", "Infinity", "-inf" in any case, decimal numbers. */
export function parseFloatText(text: string): number | undefined {
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    const value = Number(text);
    return Number.isFinite(value) ? value : undefined;
  }
  if (/^nan$/i.test(text)) return Number.NaN;
  if (/^[+-]?inf(inity)?$/i.test(text))
    return text.startsWith("-") ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return undefined;
}
