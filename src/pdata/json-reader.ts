import { high, low, setWords } from "./json-number.ts";
import {
  BACKSLASH,
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  JsonScanner,
  OPEN_ARRAY,
  OPEN_OBJECT,
  QUOTE,
  SMALL_N,
} from "./json-scanner.ts";
import { hashStep, type JsonField, type JsonKey, type JsonMessage, KIND } from "./json-schema.ts";
import { MAX_VALUE_DEPTH } from "./schema.ts";
import { varintSize } from "./wire.ts";

/** Room that every step may take without asking: a tag, a length, a number. */
const SLACK = 32;
const USUAL_SIZE = 64 * 1024;
/** A larger buffer is given up after use. */
const MAX_KEPT_SIZE = 4 * 1024 * 1024;

const NOTHING = Buffer.alloc(0);

const doubles = new DataView(new ArrayBuffer(8));

/**
 * Turns JSON into protobuf in one pass over the bytes: no tree, no string an attribute. Nested messages are written with
 * room for their length in front, which is filled in, and moved when the guess was wrong, once they are complete.
 *
 * Of a repeated key the last value counts; elements of repeated fields add up and messages merge, as on the wire and as
 * in the Collector.
 */
export class JsonReader {
  readonly #json = new JsonScanner();
  #out: Buffer = Buffer.allocUnsafe(USUAL_SIZE);
  #end = 0;

  /** The message that `bytes` is the JSON of, encoded. @throws JsonError */
  read(message: JsonMessage, bytes: Uint8Array): Buffer {
    const json = this.#json;
    json.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    json.at = 0;
    this.#end = 0;
    try {
      this.#room();
      this.#message(message, 0);
      if (json.peek() !== -1) json.fail("nothing more");
      return Buffer.from(this.#out.subarray(0, this.#end));
    } finally {
      json.bytes = NOTHING;
      if (this.#out.length > MAX_KEPT_SIZE) this.#out = Buffer.allocUnsafe(USUAL_SIZE);
    }
  }

  /** Makes room for the rest of the text, were it one string, and SLACK. */
  #room(): void {
    const need = this.#end + this.#json.bytes.length - this.#json.at + SLACK;
    if (need <= this.#out.length) return;
    const grown = Buffer.allocUnsafe(need + (this.#end >>> 1) + 1024);
    this.#out.copy(grown, 0, 0, this.#end);
    this.#out = grown;
  }

  #message(message: JsonMessage, depth: number): void {
    const json = this.#json;
    const first = json.peek();
    if (first === SMALL_N) {
      json.literal("null");
      return;
    }
    if (first !== OPEN_OBJECT) json.fail("an object");
    json.at++;
    if (json.peek() === CLOSE_OBJECT) {
      json.at++;
      return;
    }
    /** A bit for each field that was there; no message has more than 32. */
    let seen = 0;
    let last: JsonKey | undefined;
    for (;;) {
      this.#room();
      if (json.peek() !== QUOTE) json.fail("a key");
      const key = this.#key(message, last === undefined ? message.first : last.next);
      if (last === undefined) message.first = key;
      else last.next = key;
      last = key;
      const field = key?.field;
      if (json.peek() !== COLON) json.fail("a colon");
      json.at++;
      if (field === undefined) json.skip(this.#out, this.#end);
      else if (json.peek() === SMALL_N) this.#null(field);
      else if (field.repeated) this.#array(field, depth);
      else {
        this.#value(field, depth, field.presence || (seen & (1 << field.index)) !== 0);
        seen |= 1 << field.index;
      }
      const after = json.peek();
      if (after !== COMMA && after !== CLOSE_OBJECT) json.fail("a comma or }");
      json.at++;
      if (after === CLOSE_OBJECT) return;
    }
  }

  /**
   * Reads a key; `undefined` when the message has no such field. `guess` is what the last message of the kind had here:
   * senders repeat themselves, and comparing is cheaper than hashing.
   */
  #key(message: JsonMessage, guess: JsonKey | undefined): JsonKey | undefined {
    const json = this.#json;
    const { bytes } = json;
    const start = json.at + 1;
    if (guess !== undefined) {
      const end = start + guess.text.length;
      if (bytes[end] === QUOTE && isText(guess.text, bytes, start)) {
        json.at = end + 1;
        return guess;
      }
    }
    let hash = 0;
    for (let at = start; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) {
        json.at = at + 1;
        return keyOf(message, hash, bytes, start, at);
      }
      if (byte === BACKSLASH || byte < 0x20) break;
      hash = hashStep(hash, byte);
    }
    // The long way: something is escaped, or wrong.
    const to = json.string(this.#out, this.#end);
    hash = 0;
    for (let at = this.#end; at < to; at++) hash = hashStep(hash, this.#out[at] as number);
    return keyOf(message, hash, this.#out, this.#end, to);
  }

  /** null is absent; but where absent and empty differ it is, as in the Collector, an empty string or message. */
  #null(field: JsonField): void {
    this.#json.literal("null");
    if (field.presence && (field.kind === KIND.STRING || field.kind === KIND.MESSAGE)) this.#empty(field);
  }

  #empty(field: JsonField): void {
    this.#varint(field.tag);
    this.#out[this.#end++] = 0;
  }

  #array(field: JsonField, depth: number): void {
    const json = this.#json;
    if (json.peek() !== OPEN_ARRAY) json.fail("an array");
    json.at++;
    if (json.peek() === CLOSE_ARRAY) {
      json.at++;
      return;
    }
    const packed = field.kind !== KIND.MESSAGE && field.kind !== KIND.STRING;
    if (packed) this.#varint(field.tag);
    const from = packed ? ++this.#end : 0;
    for (;;) {
      this.#room();
      if (packed) this.#number(field);
      else if (json.peek() === SMALL_N) {
        json.literal("null");
        this.#empty(field);
      } else this.#value(field, depth, true);
      const after = json.peek();
      if (after !== COMMA && after !== CLOSE_ARRAY) json.fail("a comma or ]");
      json.at++;
      if (after === CLOSE_ARRAY) break;
    }
    if (packed) this.#close(from, 1);
  }

  /** One value with its tag; a zero only with `keepZero`. */
  #value(field: JsonField, depth: number, keepZero: boolean): void {
    const before = this.#end;
    this.#varint(field.tag);
    const from = this.#end;
    switch (field.kind) {
      case KIND.MESSAGE:
        this.#nested(field.child as JsonMessage, depth);
        return;
      case KIND.STRING:
        this.#end = this.#json.string(this.#out, from + 1);
        this.#close(from + 1, 1);
        break;
      case KIND.BYTES:
        this.#end = this.#json.base64(this.#out, from + 1);
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

  #nested(message: JsonMessage, depth: number): void {
    if (message.isValue && depth >= MAX_VALUE_DEPTH)
      this.#json.fail(`at most ${MAX_VALUE_DEPTH} values inside one another`);
    this.#end += message.lengthGuess;
    const from = this.#end;
    this.#message(message, message.isValue ? depth + 1 : depth);
    this.#close(from, message.lengthGuess);
  }

  #id(size: number): void {
    const length = this.#json.id(size, this.#out, this.#end + 1);
    this.#out[this.#end] = length;
    this.#end += 1 + length;
  }

  /** A bool, a number or an enum, without a tag. */
  #number(field: JsonField): void {
    const json = this.#json;
    switch (field.kind) {
      case KIND.BOOL:
        this.#out[this.#end++] = json.bool() ? 1 : 0;
        break;
      case KIND.DOUBLE:
        doubles.setFloat64(0, json.double(this.#out, this.#end), true);
        this.#word(doubles.getUint32(0, true));
        this.#word(doubles.getUint32(4, true));
        break;
      case KIND.ENUM:
        this.#enum(field);
        this.#words();
        break;
      case KIND.INT32:
        json.integer(true, 32);
        this.#words();
        break;
      case KIND.SINT32:
        json.integer(true, 32);
        this.#varint(((low << 1) ^ (low >> 31)) >>> 0);
        break;
      case KIND.UINT32:
        json.integer(false, 32);
        this.#varint(low);
        break;
      case KIND.FIXED32:
        json.integer(false, 32);
        this.#word(low);
        break;
      case KIND.INT64:
      case KIND.UINT64:
        json.integer(field.kind === KIND.INT64, 64);
        this.#words();
        break;
      case KIND.FIXED64:
      case KIND.SFIXED64:
        json.integer(field.kind === KIND.SFIXED64, 64);
        this.#word(low);
        this.#word(high);
        break;
      default:
        throw new Error(`${field.name} is no number`);
    }
  }

  /** An enum's number or name into `low` and `high`. */
  #enum(field: JsonField): void {
    const json: JsonScanner = this.#json;
    if (json.peek() !== QUOTE) {
      json.integer(true, 32);
      return;
    }
    const start = json.at;
    const value = field.values?.get(json.text(this.#out, this.#end));
    if (value === undefined) json.fail(`a number or a name such as ${[...(field.values?.keys() ?? [])][1]}`, start);
    setWords(BigInt(value));
  }

  #isZero(from: number): boolean {
    for (let at = from; at < this.#end; at++) if (this.#out[at] !== 0) return false;
    return true;
  }

  /** Puts the length of `out[from, end)` in front of it, where `reserved` bytes are free for it. */
  #close(from: number, reserved: number): void {
    const length = this.#end - from;
    if (reserved === 1 && length < 128) {
      this.#out[from - 1] = length;
      return;
    }
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
    while (rest > 0x7fffffff) {
      this.#out[this.#end++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    for (; rest > 127; rest >>>= 7) this.#out[this.#end++] = (rest & 127) | 128;
    this.#out[this.#end++] = rest;
  }

  /** `low` and `high` as a varint. */
  #words(): void {
    let lower = low;
    let upper = high;
    while (upper !== 0 || lower > 127) {
      this.#out[this.#end++] = (lower & 127) | 128;
      lower = ((lower >>> 7) | (upper << 25)) >>> 0;
      upper >>>= 7;
    }
    this.#out[this.#end++] = lower;
  }

  /** 32 bits, the lowest byte first. */
  #word(value: number): void {
    const end = this.#end;
    this.#out[end] = value;
    this.#out[end + 1] = value >>> 8;
    this.#out[end + 2] = value >>> 16;
    this.#out[end + 3] = value >>> 24;
    this.#end = end + 4;
  }
}

function keyOf(message: JsonMessage, hash: number, bytes: Uint8Array, from: number, to: number): JsonKey | undefined {
  const key = message.byHash.get(hash);
  return key?.text.length === to - from && isText(key.text, bytes, from) ? key : undefined;
}

function isText(text: Uint8Array, bytes: Uint8Array, from: number): boolean {
  for (let i = 0; i < text.length; i++) if (text[i] !== bytes[from + i]) return false;
  return true;
}
