import { JsonError } from "./json-error.ts";
import {
  inRange,
  integralValue,
  negate,
  parseDecimal,
  parseFloatText,
  rangeText,
  setWords,
  shortDecimal,
  shortDecimalEnd,
} from "./json-number.ts";
import { ESCAPES, HEX, writeUtf8 } from "./json-text.ts";

export const QUOTE = 0x22;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;
export const OPEN_ARRAY = 0x5b;
export const CLOSE_ARRAY = 0x5d;
/** The first letter of null. */
export const SMALL_N = 0x6e;
export const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const ZERO = 0x30;
const SMALL_E = 0x65;
const LARGE_E = 0x45;
const SMALL_F = 0x66;
const SMALL_T = 0x74;
const SMALL_U = 0x75;

/** How deep arrays and objects that nobody reads may nest. */
const MAX_SKIP_DEPTH = 512;

/** Steps through the tokens of a JSON text, in its bytes. Every method throws JsonError at what it does not expect. */
export class JsonScanner {
  bytes: Buffer = Buffer.alloc(0);
  /** Where the next token, or white space before it, starts. */
  at = 0;

  fail(expected: string, at = this.at): never {
    throw new JsonError(this.bytes, at, expected);
  }

  /** Steps over white space; the byte behind it, -1 at the end. */
  peek(): number {
    const { bytes } = this;
    let at = this.at;
    while (at < bytes.length) {
      const byte = bytes[at] as number;
      if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) {
        this.at = at;
        return byte;
      }
      at++;
    }
    this.at = at;
    return -1;
  }

  /** One of true, false and null. */
  literal(text: string): void {
    for (let i = 0; i < text.length; i++)
      if (this.bytes[this.at + i] !== text.charCodeAt(i)) this.fail("true, false or null");
    this.at += text.length;
  }

  bool(): boolean {
    const first = this.peek();
    if (first !== SMALL_T && first !== SMALL_F) this.fail("true or false");
    this.literal(first === SMALL_T ? "true" : "false");
    return first === SMALL_T;
  }

  /** An integer of 32 or 64 bits, bare or as a string, into json-number's `low` and `high`: two's complement of 64 bits. */
  integer(signed: boolean, bits: number): void {
    const { bytes } = this;
    const quoted = this.peek() === QUOTE;
    let at = this.at + (quoted ? 1 : 0);
    const sign = bytes[at];
    const negative = sign === MINUS;
    if (negative || (quoted && signed && sign === PLUS)) at++;
    const from = at;
    while (isDigit(bytes[at])) at++;
    const next = bytes[at];
    let fits: boolean;
    if (!quoted && (next === POINT || next === SMALL_E || next === LARGE_E)) {
      const to = this.#numberEnd();
      const value = integralValue(this.bytes.toString("latin1", this.at, to));
      if (value === undefined) this.fail("an integer");
      fits = setWords(value < 0n ? -value : value);
      at = to;
    } else {
      if (at === from || (quoted ? next !== QUOTE : bytes[from] === ZERO && at > from + 1)) this.fail("an integer");
      fits = parseDecimal(bytes, from, at);
      if (quoted) at++;
    }
    if (!fits || !inRange(signed, bits, negative)) this.fail(rangeText(signed, bits));
    if (negative) negate();
    this.at = at;
  }

  /** A number, bare or as a string; NaN and the infinities as strings only. `spare` has room for the string. */
  double(spare: Buffer, spareAt: number): number {
    const quoted = this.peek() === QUOTE;
    const start = this.at;
    if (quoted) {
      const value = parseFloatText(this.text(spare, spareAt));
      if (value === undefined) this.fail("a number", start);
      return value;
    }
    const short = shortDecimal(this.bytes, start);
    if (short >= 0) {
      this.at = shortDecimalEnd;
      return this.bytes[start] === MINUS ? -short : short;
    }
    const to = this.#numberEnd();
    const value = Number(this.bytes.toString("latin1", this.at, to));
    if (!Number.isFinite(value)) this.fail("a number that a double can hold");
    this.at = to;
    return value;
  }

  /** Where the bare number here ends. */
  #numberEnd(): number {
    let at = this.at;
    if (this.bytes[at] === MINUS) at++;
    const zero = this.bytes[at] === ZERO;
    const from = at;
    at = this.#digitsEnd(at);
    if (zero && at > from + 1) this.fail("a number");
    if (this.bytes[at] === POINT) at = this.#digitsEnd(at + 1);
    const mark = this.bytes[at];
    if (mark === SMALL_E || mark === LARGE_E) {
      const sign = this.bytes[at + 1];
      at = this.#digitsEnd(sign === MINUS || sign === PLUS ? at + 2 : at + 1);
    }
    return at;
  }

  /** Where the digits at `from` end; there must be one. */
  #digitsEnd(from: number): number {
    let at = from;
    while (isDigit(this.bytes[at])) at++;
    if (at === from) this.fail("a number");
    return at;
  }

  /** A short string. `spare` has room for it. */
  text(spare: Buffer, spareAt: number): string {
    const to = this.string(spare, spareAt);
    return spare.toString("utf8", spareAt, to);
  }

  /**
   * Writes a string as UTF-8 to `out`, which has room for as many bytes as the text has left; where it ends there.
   * Bytes that are no UTF-8 stay as they are, half a surrogate pair becomes U+FFFD.
   */
  string(out: Uint8Array, outAt: number): number {
    if (this.peek() !== QUOTE) this.fail("a string");
    const { bytes } = this;
    const to = bytes.length;
    let at = this.at + 1;
    let end = outAt;
    while (at < to) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) {
        this.at = at + 1;
        return end;
      }
      if (byte === BACKSLASH) {
        const letter = bytes[at + 1] as number;
        if (letter === SMALL_U) {
          const code = this.#codePoint(at);
          at += code > 0xffff ? 12 : 6;
          end = writeUtf8(out, end, (code & 0xfffff800) === 0xd800 ? 0xfffd : code);
        } else {
          const plain = letter < 128 ? (ESCAPES[letter] as number) : 0;
          if (plain === 0) this.fail("an escape sequence of JSON", at);
          out[end++] = plain;
          at += 2;
        }
      } else {
        if (byte < 0x20) this.fail("a string without control characters", at);
        out[end++] = byte;
        at++;
      }
    }
    return this.fail("the end of a string", to);
  }

  /** What the `\uXXXX` at `at` stands for, together with the next one when they are a surrogate pair. */
  #codePoint(at: number): number {
    const code = this.#hex4(at);
    if ((code & 0xfc00) !== 0xd800 || this.bytes[at + 6] !== BACKSLASH || this.bytes[at + 7] !== SMALL_U) return code;
    const second = this.#hex4(at + 6);
    return (second & 0xfc00) === 0xdc00 ? 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00) : code;
  }

  #hex4(at: number): number {
    let code = 0;
    for (let i = at + 2; i < at + 6; i++) {
      const digit = i < this.bytes.length ? (HEX[this.bytes[i] as number] as number) : 255;
      if (digit > 15) this.fail("four hex digits", at);
      code = code * 16 + digit;
    }
    return code;
  }

  /** An id of `size` bytes in hex, written to `out`; 0 when it is "", else `size`. */
  id(size: number, out: Uint8Array, outAt: number): number {
    if (this.peek() !== QUOTE) this.fail("a string");
    const { bytes } = this;
    const start = this.at + 1;
    if (bytes[start] === QUOTE) {
      this.at += 2;
      return 0;
    }
    const to = start + size * 2;
    if (bytes[to] !== QUOTE) this.fail(`${size * 2} hex digits or ""`);
    for (let at = start, end = outAt; at < to; at += 2) {
      const upper = HEX[bytes[at] as number] as number;
      const lower = HEX[bytes[at + 1] as number] as number;
      if (upper > 15 || lower > 15) this.fail(`${size * 2} hex digits or ""`);
      out[end++] = upper * 16 + lower;
    }
    this.at = to + 1;
    return size;
  }

  /** Writes bytes that are spelled in base64, of either alphabet, padded or not; where they end. */
  base64(out: Buffer, outAt: number): number {
    this.peek();
    const start = this.at;
    const text = this.text(out, outAt);
    if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text) || text.replace(/=+$/, "").length % 4 === 1) this.fail("base64", start);
    return outAt + out.write(text, outAt, "base64");
  }

  /** Steps over a value that nobody reads; it must be JSON. `spare` has room for its strings. */
  skip(spare: Buffer, spareAt: number, depth = 0): void {
    const first = this.peek();
    if (depth > MAX_SKIP_DEPTH) this.fail(`at most ${MAX_SKIP_DEPTH} arrays and objects inside one another`);
    switch (first) {
      case QUOTE:
        this.string(spare, spareAt);
        return;
      case SMALL_T:
      case SMALL_F:
        this.bool();
        return;
      case SMALL_N:
        this.literal("null");
        return;
      case OPEN_OBJECT:
      case OPEN_ARRAY:
        this.#skipInside(first === OPEN_OBJECT, spare, spareAt, depth);
        return;
      default:
        if (first !== MINUS && !isDigit(first)) this.fail("a value");
        this.at = this.#numberEnd();
    }
  }

  #skipInside(isObject: boolean, spare: Buffer, spareAt: number, depth: number): void {
    const close = isObject ? CLOSE_OBJECT : CLOSE_ARRAY;
    this.at++;
    if (this.peek() === close) {
      this.at++;
      return;
    }
    for (;;) {
      if (isObject) {
        this.string(spare, spareAt);
        if (this.peek() !== COLON) this.fail("a colon");
        this.at++;
      }
      this.skip(spare, spareAt, depth + 1);
      const after = this.peek();
      if (after !== COMMA && after !== close) this.fail(`a comma or ${String.fromCharCode(close)}`);
      this.at++;
      if (after === close) return;
    }
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= 0x39;
}
