/**
 * Changes some spans of an encoded ExportTraceServiceRequest and leaves every other byte as it came, unknown fields and
 * the order of fields included.
 */

import { FIXED32, FIXED64, LEN, VARINT, WireCursor } from "../pdata/wire.ts";
import { WireWriter } from "../pdata/wire-writer.ts";
import type { Role } from "./actions.ts";
import { hexOf, type IdSource, writeId } from "./id-source.ts";
import type { SpanPlaces } from "./span-scan.ts";

/** What to change of one span. */
export interface SpanEdit {
  readonly traceId: IdSource;
  /** Where the span's fields stand, when they are known: saves walking over them. */
  readonly places?: SpanPlaces | undefined;
  /** Adds `omni.role`. */
  readonly role?: Role | undefined;
  /** Adds `omni.original_trace_id`, what the trace id was. */
  readonly keepsOriginal?: boolean;
  /** Lower-case hex; undefined leaves the parent as it is. */
  readonly parentSpanId?: string | undefined;
  /** Attributes to add besides. */
  readonly attributes: readonly (readonly [key: string, value: string | number])[];
  /** A link to add, to what the parent was. */
  readonly link?: { readonly traceId: string; readonly spanId: string } | undefined;
  /** Nanoseconds to add to both times. */
  readonly shiftNanos?: bigint | undefined;
}

/** Span flags of trace.proto: bits 8 and 9 say whether the parent is remote. */
const FLAG_HAS_IS_REMOTE = 0x100;
const FLAG_IS_REMOTE = 0x200;

/** The batch with the edits made, listed by position of the span among all spans of the batch. The same bytes when there are none. */
export function patchTraces(bytes: Uint8Array, edits: readonly (SpanEdit | undefined)[]): Uint8Array {
  let changes = 0;
  for (const edit of edits) if (edit) changes++;
  if (changes === 0) return bytes;
  const out = new WireWriter(bytes.length + changes * 160);
  new Patcher(bytes, edits, out).request();
  return out.release();
}

/** The attribute as a field of a span. */
function attributeBytes(key: string, value: string): Buffer {
  const out = new WireWriter(64);
  writeAttribute(out, 9, key, value);
  return out.finish();
}

const PREFILL = attributeBytes("omni.role", "prefill");
const DECODE = attributeBytes("omni.role", "decode");
/** All of the attribute up to the 32 digits of its value. */
const ORIGINAL = attributeBytes("omni.original_trace_id", "0".repeat(32)).subarray(0, -32);

class Patcher {
  #index = 0;
  readonly #bytes: Uint8Array;
  readonly #edits: readonly (SpanEdit | undefined)[];
  readonly #out: WireWriter;
  readonly #span: WireCursor;

  constructor(bytes: Uint8Array, edits: readonly (SpanEdit | undefined)[], out: WireWriter) {
    this.#bytes = bytes;
    this.#edits = edits;
    this.#out = out;
    this.#span = new WireCursor(bytes);
  }

  request(): void {
    const cursor = new WireCursor(this.#bytes);
    while (cursor.next()) {
      if (cursor.field !== 1 || cursor.wire !== LEN) this.#copy(cursor.start, cursor.valueEnd);
      else {
        const about = cursor.valueEnd - cursor.valueStart;
        const mark = this.#out.open(1, about);
        this.#resourceSpans(cursor.valueStart, cursor.valueEnd);
        this.#out.close(mark, about);
      }
    }
  }

  #resourceSpans(from: number, to: number): void {
    const cursor = new WireCursor(this.#bytes, from, to);
    while (cursor.next()) {
      if (cursor.field !== 2 || cursor.wire !== LEN) this.#copy(cursor.start, cursor.valueEnd);
      else {
        const about = cursor.valueEnd - cursor.valueStart;
        const mark = this.#out.open(2, about);
        this.#scopeSpans(cursor.valueStart, cursor.valueEnd);
        this.#out.close(mark, about);
      }
    }
  }

  #scopeSpans(from: number, to: number): void {
    const cursor = new WireCursor(this.#bytes, from, to);
    let copied = from;
    while (cursor.next()) {
      if (cursor.field !== 2 || cursor.wire !== LEN) continue;
      const edit = this.#edits[this.#index++];
      if (!edit) continue;
      this.#copy(copied, cursor.start);
      copied = cursor.valueEnd;
      const about = cursor.valueEnd - cursor.valueStart;
      const mark = this.#out.open(2, about);
      if (edit.places?.isPlain && edit.shiftNanos === undefined && edit.parentSpanId !== "")
        this.#overwrite(cursor.valueStart, cursor.valueEnd, edit, edit.places);
      else this.#rewrite(cursor.valueStart, cursor.valueEnd, edit);
      this.#out.close(mark, about);
    }
    this.#copy(copied, to);
  }

  #copy(from: number, to: number): void {
    if (from < to) this.#out.raw(this.#bytes, from, to);
  }

  /** Copies the span whole and changes the ids where they stand. */
  #overwrite(from: number, to: number, edit: SpanEdit, places: SpanPlaces): void {
    const out = this.#out;
    const shift = out.length - from;
    out.raw(this.#bytes, from, to);
    const { parentSpanId } = edit;
    writeId(out.memory, places.traceIdAt + shift, edit.traceId, 16);
    if (parentSpanId !== undefined) {
      if (places.parentAt >= 0) writeId(out.memory, places.parentAt + shift, parentSpanId, 8);
      else out.hex(4, parentSpanId);
      // The second byte has both bits.
      const flagsAt = places.flagsAt + shift + 1;
      const flags = out.memory[flagsAt] as number;
      if (places.flagsAt >= 0 && flags & (FLAG_HAS_IS_REMOTE >> 8)) out.memory[flagsAt] = flags | (FLAG_IS_REMOTE >> 8);
    }
    this.#add(edit, places.bytes, places.traceIdAt);
  }

  /** Writes the span anew, field by field. */
  #rewrite(from: number, to: number, edit: SpanEdit): void {
    const out = this.#out;
    const cursor = this.#span.reset(this.#bytes, from, to);
    const newParent = edit.parentSpanId !== undefined;
    let traceIdAt = -1;
    out.hex(1, hexOf(edit.traceId, 16));
    // What stays is copied in pieces as long as they get.
    let copied = from;
    while (cursor.next()) {
      const { field, wire } = cursor;
      const times = (field === 7 || field === 8) && wire === FIXED64 && edit.shiftNanos !== undefined;
      const parent = newParent && ((field === 4 && wire === LEN) || (field === 16 && wire === FIXED32));
      if (!times && !parent && !(field === 1 && wire === LEN)) continue;
      this.#copy(copied, cursor.start);
      copied = cursor.valueEnd;
      if (field === 1 && cursor.valueEnd - cursor.valueStart === 16) traceIdAt = cursor.valueStart;
      if (times) out.fixed64(field, BigInt.asUintN(64, cursor.fixed64() + (edit.shiftNanos as bigint)));
      else if (field === 16) {
        const flags = cursor.fixed32();
        out.fixed32(16, flags & FLAG_HAS_IS_REMOTE ? flags | FLAG_IS_REMOTE : flags);
      }
    }
    this.#copy(copied, to);
    if (newParent && edit.parentSpanId !== "") out.hex(4, edit.parentSpanId as string);
    this.#add(edit, this.#bytes, traceIdAt);
  }

  /** What comes behind the span's own fields. */
  #add(edit: SpanEdit, bytes: Uint8Array, traceIdAt: number): void {
    const out = this.#out;
    if (edit.role === "prefill") out.raw(PREFILL);
    else if (edit.role === "decode") out.raw(DECODE);
    for (const [key, value] of edit.attributes) writeAttribute(out, 9, key, value);
    if (edit.keepsOriginal && traceIdAt >= 0) out.raw(ORIGINAL).hexText(bytes, traceIdAt, 16);
    if (edit.link) {
      const mark = out.open(13);
      out.hex(1, edit.link.traceId).hex(2, edit.link.spanId);
      out.close(mark);
    }
  }
}

/** An attribute's value: text, a double, a 64-bit integer, a truth value or a list of texts. */
export type AttributeValue = string | number | bigint | boolean | readonly string[];

/** Appends a KeyValue as field `field`. */
export function writeAttribute(out: WireWriter, field: number, key: string, value: AttributeValue): void {
  const pair = out.open(field);
  out.string(1, key);
  const any = out.open(2);
  if (typeof value === "string") out.string(1, value);
  else if (typeof value === "boolean") out.tag(2, VARINT).varint(value ? 1 : 0);
  else if (typeof value === "bigint") out.int64(3, value);
  else if (typeof value === "number") out.double(4, value);
  else {
    const list = out.open(5);
    for (const item of value) {
      const element = out.open(1);
      out.string(1, item).close(element);
    }
    out.close(list);
  }
  out.close(any).close(pair);
}
