import { JsonError } from "./json-error.ts";
import {
  high,
  inRange,
  integralValue,
  low,
  negate,
  parseDecimal,
  parseFloatText,
  rangeText,
  setWords,
} from "./json-number.ts";
import { hashStep, type JsonField, type JsonMessage, KIND } from "./json-schema.ts";
import { ESCAPES, HEX, writeUtf8 } from "./json-text.ts";
import { MAX_VALUE_DEPTH } from "./schema.ts";
import { varintSize } from "./wire.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const ZERO = 0x30;
const SMALL_E = 0x65;
const SMALL_N = 0x6e;

/** How deep arrays and objects of unknown fields may nest. */
const MAX_UNKNOWN_DEPTH = 512;
/** Room that every step may take without asking: a tag, a length, a number. */
const SLACK = 32;
/** A larger buffer is given up after use. */
const MAX_KEPT = 4 * 1024 * 1024;

const doubles = new DataView(new ArrayBuffer(8));

/**
 * Turns JSON into protobuf in one pass over the bytes: no tree, no string an attribute. Nested messages are written with
 * room for their length in front, which is filled in, and moved when the guess was wrong, once they are complete.
 *
 * Of a repeated key the last value counts; elements of repeated fields add up and messages merge, as on the wire and as
 * in the Collector.
 */
export class JsonReader {
  #in: Uint8Array = new Uint8Array();
  #at = 0;
  #out: Buffer = Buffer.allocUnsafe(64 * 1024);
  #end = 0;

  /** The message that `bytes` is the JSON of, encoded. @throws JsonError */
  read(message: JsonMessage, bytes: Uint8Array): Buffer {
    this.#in = bytes;
    this.#at = 0;
    this.#end = 0;
    try {
      this.#room();
      this.#message(message, 0);
      if (this.#peek() !== -1) this.#fail("nothing more");
      return Buffer.from(this.#out.subarray(0, this.#end));
    } finally {
      this.#in = new Uint8Array();
      if (this.#out.length > MAX_KEPT) this.#out = Buffer.allocUnsafe(64 * 1024);
    }
  }

  #fail(expected: string, at = this.#at): never {
    throw new JsonError(this.#in, at, expected);
  }

  /** Makes room for the rest of the input, were it one string, and SLACK. */
  #room(): void {
    const need = this.#end + this.#in.length - this.#at + SLACK;
    if (need <= this.#out.length) return;
    const grown = Buffer.allocUnsafe(need + (this.#end >>> 1) + 1024);
    this.#out.copy(grown, 0, 0, this.#end);
    this.#out = grown;
  }

  /** Skips white space; the next byte, -1 at the end. */
  #peek(): number {
    const bytes = this.#in;
    let at = this.#at;
    while (at < bytes.length) {
      const byte = bytes[at] as number;
      if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) {
        this.#at = at;
        return byte;
      }
      at++;
    }
    this.#at = at;
    return -1;
  }

  #message(message: JsonMessage, depth: number): void {
    const first = this.#peek();
    if (first === SMALL_N) {
      this.#literal("null");
      return;
    }
    if (first !== OPEN_OBJECT) this.#fail("an object");
    this.#at++;
    if (this.#peek() === CLOSE_OBJECT) {
      this.#at++;
      return;
    }
    let seen = 0;
    for (;;) {
      if (this.#peek() !== QUOTE) this.#fail("a key");
      const field = this.#key(message);
      if (this.#peek() !== COLON) this.#fail("a colon");
      this.#at++;
      const next = this.#peek();
      this.#room();
      if (field === undefined) this.#skip(0);
      else if (next === SMALL_N) this.#null(field);
      else if (field.repeated) this.#array(field, depth);
      else {
        this.#value(field, depth, field.presence || (seen & field.bit) !== 0);
        seen |= field.bit;
      }
      const after = this.#peek();
      if (after === CLOSE_OBJECT) {
        this.#at++;
        return;
      }
      if (after !== COMMA) this.#fail("a comma or }");
      this.#at++;
    }
  }

  /** Reads a key; `undefined` when the message has no such field. */
  #key(message: JsonMessage): JsonField | undefined {
    const bytes = this.#in;
    const start = this.#at + 1;
    let at = start;
    let hash = 0;
    for (; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) {
        this.#at = at + 1;
        return fieldOf(message, hash, bytes, start, at);
      }
      if (byte === BACKSLASH || byte < 0x20) break;
      hash = hashStep(hash, byte);
    }
    // The long way: something is escaped, or wrong.
    this.#room();
    const from = this.#end;
    const to = this.#string();
    hash = 0;
    for (let i = from; i < to; i++) hash = hashStep(hash, this.#out[i] as number);
    return fieldOf(message, hash, this.#out, from, to);
  }

  /** null is absent; but where absent and empty differ it is, as in the Collector, an empty string or message. */
  #null(field: JsonField): void {
    this.#literal("null");
    if (field.presence && (field.kind === KIND.STRING || field.kind === KIND.MESSAGE)) this.#tagAndByte(field.tag, 0);
  }

  #array(field: JsonField, depth: number): void {
    if (this.#peek() !== OPEN_ARRAY) this.#fail("an array");
    this.#at++;
    if (this.#peek() === CLOSE_ARRAY) {
      this.#at++;
      return;
    }
    const packed = field.kind !== KIND.MESSAGE && field.kind !== KIND.STRING;
    if (packed) this.#varint(field.tag);
    const from = packed ? ++this.#end : 0;
    for (;;) {
      this.#room();
      if (packed) this.#number(field);
      else if (this.#peek() === SMALL_N) {
        this.#literal("null");
        this.#tagAndByte(field.tag, 0);
      } else this.#value(field, depth, true);
      const after = this.#peek();
      this.#at++;
      if (after === CLOSE_ARRAY) break;
      if (after !== COMMA) this.#fail("a comma or ]", this.#at - 1);
    }
    if (packed) this.#close(from, 1);
  }

  /** One value with its tag; a zero only with `keepZero`. */
  #value(field: JsonField, depth: number, keepZero: boolean): void {
    const before = this.#end;
    this.#varint(field.tag);
    const from = this.#end;
    switch (field.kind) {
      case KIND.MESSAGE: {
        const child = field.child as JsonMessage;
        if (child.isValue && depth >= MAX_VALUE_DEPTH)
          this.#fail(`at most ${MAX_VALUE_DEPTH} values inside one another`);
        this.#end += child.lengthGuess;
        const start = this.#end;
        this.#message(child, child.isValue ? depth + 1 : depth);
        this.#close(start, child.lengthGuess);
        return;
      }
      case KIND.STRING:
        this.#end++;
        this.#end = this.#string();
        this.#close(from + 1, 1);
        break;
      case KIND.BYTES:
        this.#end++;
        this.#end = this.#base64();
        this.#close(from + 1, 1);
        break;
      case KIND.TRACE_ID:
        this.#id(16);
        break;
      case KIND.SPAN_ID:
        this.#id(8);
        break;
      default:
        this.#number(field);
    }
    // A length of 0, or a number all of whose bytes are.
    if (!keepZero && this.#isZero(from)) this.#end = before;
  }

  #isZero(from: number): boolean {
    for (let at = from; at < this.#end; at++) if (this.#out[at] !== 0) return false;
    return true;
  }

  /** Puts the length of `out[from, end)` in front of it, where `reserved` bytes are free for it. */
  #close(from: number, reserved: number): void {
    const length = this.#end - from;
    const size = varintSize(length);
    const start = from - reserved;
    if (size !== reserved) {
      this.#room();
      this.#out.copyWithin(start + size, from, this.#end);
    }
    this.#end = start;
    this.#varint(length);
    this.#end += length;
  }

  /** 0 <= value < 2^53. */
  #varint(value: number): void {
    let rest = value;
    for (; rest > 127; rest = Math.floor(rest / 128)) this.#out[this.#end++] = (rest % 128) | 128;
    this.#out[this.#end++] = rest;
  }

  #tagAndByte(tag: number, byte: number): void {
    this.#varint(tag);
    this.#out[this.#end++] = byte;
  }

  /** `low` and `high` as a varint. */
  #varint64(): void {
    let lo = low;
    let hi = high;
    while (hi !== 0 || lo > 127) {
      this.#out[this.#end++] = (lo & 127) | 128;
      lo = ((lo >>> 7) | (hi << 25)) >>> 0;
      hi >>>= 7;
    }
    this.#out[this.#end++] = lo;
  }

  #word(value: number): void {
    const out = this.#out;
    const end = this.#end;
    out[end] = value;
    out[end + 1] = value >>> 8;
    out[end + 2] = value >>> 16;
    out[end + 3] = value >>> 24;
    this.#end = end + 4;
  }

  /** A bool, a number or an enum, without a tag. */
  #number(field: JsonField): void {
    switch (field.kind) {
      case KIND.BOOL:
        this.#out[this.#end++] = this.#bool();
        break;
      case KIND.DOUBLE:
        doubles.setFloat64(0, this.#double(), true);
        this.#word(doubles.getUint32(0, true));
        this.#word(doubles.getUint32(4, true));
        break;
      case KIND.ENUM:
        this.#enum(field);
        this.#varint64();
        break;
      case KIND.INT32:
        this.#integer(true, 32);
        this.#varint64();
        break;
      case KIND.SINT32:
        this.#integer(true, 32);
        this.#varint(((low << 1) ^ (low >> 31)) >>> 0);
        break;
      case KIND.UINT32:
        this.#integer(false, 32);
        this.#varint(low);
        break;
      case KIND.FIXED32:
        this.#integer(false, 32);
        this.#word(low);
        break;
      case KIND.INT64:
      case KIND.UINT64:
        this.#integer(field.kind === KIND.INT64, 64);
        this.#varint64();
        break;
      case KIND.FIXED64:
      case KIND.SFIXED64:
        this.#integer(field.kind === KIND.SFIXED64, 64);
        this.#word(low);
        this.#word(high);
        break;
      default:
        throw new Error(`${field.name} is no number`);
    }
  }

  #literal(text: string): void {
    for (let i = 0; i < text.length; i++)
      if (this.#in[this.#at + i] !== text.charCodeAt(i)) this.#fail("true, false or null");
    this.#at += text.length;
  }

  #bool(): number {
    const truth = this.#peek() === 0x74;
    if (!truth && this.#peek() !== 0x66) this.#fail("true or false");
    this.#literal(truth ? "true" : "false");
    return truth ? 1 : 0;
  }

  /** An integer, bare or as a string, into `low` and `high` (two's complement of 64 bits). */
  #integer(signed: boolean, bits: number): void {
    const start = this.#at;
    const bytes = this.#in;
    const quoted = this.#peek() === QUOTE;
    let at = this.#at + (quoted ? 1 : 0);
    const sign = bytes[at];
    const negative = sign === MINUS;
    if (negative || (quoted && signed && sign === PLUS)) at++;
    const from = at;
    while (at < bytes.length && isDigit(bytes[at])) at++;
    const next = bytes[at];
    let fits: boolean;
    if (!quoted && (next === POINT || next === SMALL_E || next === 0x45)) {
      const to = this.#numberEnd();
      const value = integralValue(Buffer.from(bytes.subarray(this.#at, to)).toString("latin1"));
      if (value === undefined) this.#fail("an integer", start);
      fits = setWords(value < 0n ? -value : value);
      at = to;
    } else {
      if (at === from || (quoted ? next !== QUOTE : bytes[from] === ZERO && at > from + 1))
        this.#fail("an integer", start);
      fits = parseDecimal(bytes, from, at);
      if (quoted) at++;
    }
    if (!fits || !inRange(signed, bits, negative)) this.#fail(rangeText(signed, bits), start);
    if (negative) negate();
    this.#at = at;
  }

  /** A number, bare or as a string; NaN and the infinities as strings only. */
  #double(): number {
    const start = this.#at;
    if (this.#peek() === QUOTE) {
      const text = this.#text();
      const value = parseFloatText(text);
      if (value === undefined) this.#fail("a number", start);
      return value;
    }
    const to = this.#numberEnd();
    const value = Number(
      Buffer.from(this.#in.buffer, this.#in.byteOffset + this.#at, to - this.#at).toString("latin1"),
    );
    if (!Number.isFinite(value)) this.#fail("a number that a double can hold", start);
    this.#at = to;
    return value;
  }

  /** Where the bare number here ends. */
  #numberEnd(): number {
    const bytes = this.#in;
    let at = this.#at;
    const digits = () => {
      const from = at;
      while (isDigit(bytes[at])) at++;
      if (at === from) this.#fail("a number");
    };
    if (bytes[at] === MINUS) at++;
    const zero = bytes[at] === ZERO;
    const from = at;
    digits();
    if (zero && at > from + 1) this.#fail("a number");
    if (bytes[at] === POINT) {
      at++;
      digits();
    }
    if (bytes[at] === SMALL_E || bytes[at] === 0x45) {
      at++;
      if (bytes[at] === MINUS || bytes[at] === PLUS) at++;
      digits();
    }
    return at;
  }

  /** An enum's number or name into `low` and `high`. */
  #enum(field: JsonField): void {
    if (this.#peek() !== QUOTE) {
      this.#integer(true, 32);
      return;
    }
    const start = this.#at;
    const value = field.values?.get(this.#text());
    if (value === undefined) this.#fail(`a number or a name such as ${[...(field.values?.keys() ?? [])][1]}`, start);
    setWords(BigInt(value));
  }

  /** A short string. */
  #text(): string {
    const to = this.#string();
    return this.#out.toString("utf8", this.#end, to);
  }

  /** An id with its length in front: hex digits, or "" for none. */
  #id(size: number): void {
    if (this.#peek() !== QUOTE) this.#fail("a string");
    const bytes = this.#in;
    const start = this.#at + 1;
    if (bytes[start] === QUOTE) {
      this.#at += 2;
      this.#out[this.#end++] = 0;
      return;
    }
    const out = this.#out;
    let end = this.#end;
    out[end++] = size;
    const to = start + size * 2;
    if (bytes[to] !== QUOTE) this.#fail(`${size * 2} hex digits or ""`);
    for (let at = start; at < to; at += 2) {
      const upper = HEX[bytes[at] as number] as number;
      const lower = HEX[bytes[at + 1] as number] as number;
      if (upper > 15 || lower > 15) this.#fail(`${size * 2} hex digits or ""`);
      out[end++] = upper * 16 + lower;
    }
    this.#end = end;
    this.#at = to + 1;
  }

  /** Bytes as base64 of either alphabet, padded or not; written at `end`. Where they end. */
  #base64(): number {
    const start = this.#at;
    const text = this.#text();
    if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text) || text.replace(/=+$/, "").length % 4 === 1) this.#fail("base64", start);
    return this.#end + this.#out.write(text, this.#end, "base64");
  }

  /** Reads a string and writes its UTF-8 at `end`, which stays; where it ends there. Bytes that are no UTF-8 stay as they are. */
  #string(): number {
    if (this.#peek() !== QUOTE) this.#fail("a string");
    this.#room();
    const bytes = this.#in;
    const out = this.#out;
    const to = bytes.length;
    let at = this.#at + 1;
    let end = this.#end;
    while (at < to) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) {
        this.#at = at + 1;
        return end;
      }
      if (byte === BACKSLASH) {
        const letter = bytes[at + 1] as number;
        const plain = letter < 128 ? (ESCAPES[letter] as number) : 0;
        if (plain !== 0) {
          out[end++] = plain;
          at += 2;
        } else {
          if (letter !== 0x75) this.#fail("an escape sequence of JSON", at);
          let code = this.#hex4(at);
          at += 6;
          if ((code & 0xfc00) === 0xd800 && bytes[at] === BACKSLASH && bytes[at + 1] === 0x75) {
            const second = this.#hex4(at);
            if ((second & 0xfc00) === 0xdc00) {
              code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
              at += 6;
            }
          }
          end = writeUtf8(out, end, (code & 0xfffff800) === 0xd800 ? 0xfffd : code);
        }
      } else {
        if (byte < 0x20) this.#fail("a string without control characters", at);
        out[end++] = byte;
        at++;
      }
    }
    return this.#fail("the end of a string", to);
  }

  /** The code unit of the `\uXXXX` at `at`. */
  #hex4(at: number): number {
    let code = 0;
    for (let i = at + 2; i < at + 6; i++) {
      const digit = i < this.#in.length ? (HEX[this.#in[i] as number] as number) : 255;
      if (digit > 15) this.#fail("four hex digits", at);
      code = code * 16 + digit;
    }
    return code;
  }

  /** Steps over a value that nobody reads; it must be JSON. */
  #skip(depth: number): void {
    const first = this.#peek();
    if (depth > MAX_UNKNOWN_DEPTH) this.#fail(`at most ${MAX_UNKNOWN_DEPTH} arrays and objects inside one another`);
    switch (first) {
      case QUOTE:
        this.#string();
        return;
      case 0x74:
      case 0x66:
        this.#bool();
        return;
      case SMALL_N:
        this.#literal("null");
        return;
      case OPEN_OBJECT:
      case OPEN_ARRAY: {
        const close = first === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_ARRAY;
        this.#at++;
        if (this.#peek() === close) {
          this.#at++;
          return;
        }
        for (;;) {
          if (first === OPEN_OBJECT) {
            this.#string();
            if (this.#peek() !== COLON) this.#fail("a colon");
            this.#at++;
          }
          this.#skip(depth + 1);
          const after = this.#peek();
          this.#at++;
          if (after === close) return;
          if (after !== COMMA) this.#fail(`a comma or ${String.fromCharCode(close)}`, this.#at - 1);
        }
      }
      default:
        if (first !== MINUS && !isDigit(first)) this.#fail("a value");
        this.#at = this.#numberEnd();
    }
  }
}

function fieldOf(
  message: JsonMessage,
  hash: number,
  bytes: Uint8Array,
  from: number,
  to: number,
): JsonField | undefined {
  const entry = message.byKey.get(hash);
  if (entry === undefined || entry.key.length !== to - from) return undefined;
  const { key } = entry;
  for (let i = 0; i < key.length; i++) if (key[i] !== bytes[from + i]) return undefined;
  return entry.field;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= 0x39;
}
