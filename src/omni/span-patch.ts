/**
 * Changes some spans of an encoded ExportTraceServiceRequest and leaves every other byte as it came, unknown fields and
 * the order of fields included.
 */
import { FIXED32, FIXED64, LEN, VARINT, WireCursor, WireWriter } from "../pdata/wire.ts";

/** What to change of one span. Ids are lower-case hex. */
export interface SpanEdit {
  readonly traceId: string;
  /** undefined leaves the parent as it is. */
  readonly parentSpanId?: string | undefined;
  /** String attributes to add. */
  readonly attributes: readonly (readonly [key: string, value: string | number])[];
  /** A link to add, to what the parent was. */
  readonly link?: { readonly traceId: string; readonly spanId: string } | undefined;
  /** Nanoseconds to add to both times. */
  readonly shiftNanos?: bigint | undefined;
}

/** Span flags of trace.proto: bits 8 and 9 say whether the parent is remote. */
const FLAG_HAS_IS_REMOTE = 0x100;
const FLAG_IS_REMOTE = 0x200;

/** The batch with the edits made, by position of the span among all spans of the batch. The same bytes when there are none. */
export function patchTraces(bytes: Uint8Array, edits: ReadonlyMap<number, SpanEdit>): Uint8Array {
  if (edits.size === 0) return bytes;
  const out = new WireWriter(bytes.length + edits.size * 160);
  new Patcher(bytes, edits, out).request();
  return out.finish();
}

class Patcher {
  #index = 0;
  readonly #bytes: Uint8Array;
  readonly #edits: ReadonlyMap<number, SpanEdit>;
  readonly #out: WireWriter;
  readonly #span: WireCursor;

  constructor(bytes: Uint8Array, edits: ReadonlyMap<number, SpanEdit>, out: WireWriter) {
    this.#bytes = bytes;
    this.#edits = edits;
    this.#out = out;
    this.#span = new WireCursor(bytes);
  }

  request(): void {
    const cursor = new WireCursor(this.#bytes);
    while (cursor.next()) {
      if (cursor.field !== 1 || cursor.wire !== LEN) this.#copy(cursor);
      else this.#nested(cursor, (from, to) => this.#resourceSpans(from, to));
    }
  }

  #resourceSpans(from: number, to: number): void {
    const cursor = new WireCursor(this.#bytes, from, to);
    while (cursor.next()) {
      if (cursor.field !== 2 || cursor.wire !== LEN) this.#copy(cursor);
      else this.#nested(cursor, (start, end) => this.#scopeSpans(start, end));
    }
  }

  #scopeSpans(from: number, to: number): void {
    const cursor = new WireCursor(this.#bytes, from, to);
    while (cursor.next()) {
      if (cursor.field !== 2 || cursor.wire !== LEN) {
        this.#copy(cursor);
        continue;
      }
      const edit = this.#edits.get(this.#index++);
      if (edit) this.#nested(cursor, (start, end) => this.#editSpan(start, end, edit));
      else this.#copy(cursor);
    }
  }

  #copy(cursor: WireCursor): void {
    this.#out.raw(this.#bytes, cursor.start, cursor.valueEnd);
  }

  #nested(cursor: WireCursor, write: (from: number, to: number) => void): void {
    const { field, valueStart, valueEnd } = cursor;
    this.#out.message(field, () => write(valueStart, valueEnd));
  }

  #editSpan(from: number, to: number, edit: SpanEdit): void {
    const out = this.#out;
    const cursor = this.#span.reset(this.#bytes, from, to);
    const newParent = edit.parentSpanId !== undefined;
    out.hex(1, edit.traceId);
    while (cursor.next()) {
      if (cursor.field === 1 && cursor.wire === LEN) continue;
      if (cursor.field === 4 && cursor.wire === LEN && newParent) continue;
      if ((cursor.field === 7 || cursor.field === 8) && cursor.wire === FIXED64 && edit.shiftNanos) {
        out.fixed64(cursor.field, BigInt.asUintN(64, cursor.fixed64() + edit.shiftNanos));
      } else if (cursor.field === 16 && cursor.wire === FIXED32 && newParent) {
        const flags = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + cursor.valueStart, 4).getUint32(
          0,
          true,
        );
        out.fixed32(16, flags & FLAG_HAS_IS_REMOTE ? flags | FLAG_IS_REMOTE : flags);
      } else this.#copy(cursor);
    }
    if (newParent && edit.parentSpanId !== "") out.hex(4, edit.parentSpanId as string);
    for (const [key, value] of edit.attributes) writeAttribute(out, 9, key, value);
    if (edit.link) {
      const { traceId, spanId } = edit.link;
      out.message(13, () => out.hex(1, traceId).hex(2, spanId));
    }
  }
}

/** An attribute's value: text, a double, a 64-bit integer, a truth value or a list of texts. */
export type AttributeValue = string | number | bigint | boolean | readonly string[];

/** Appends a KeyValue as field `field`. */
export function writeAttribute(out: WireWriter, field: number, key: string, value: AttributeValue): void {
  out.message(field, () => {
    out.string(1, key);
    out.message(2, () => {
      if (typeof value === "string") out.string(1, value);
      else if (typeof value === "boolean") out.tag(2, VARINT).varint(value ? 1 : 0);
      else if (typeof value === "bigint") out.int64(3, value);
      else if (typeof value === "number") out.double(4, value);
      else {
        out.message(5, () => {
          for (const item of value) out.message(1, () => out.string(1, item));
        });
      }
    });
  });
}
