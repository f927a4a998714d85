import type { OtlpBatch, Signal } from "./payload.ts";
import { LEN, WireCursor, WireWriter } from "./wire.ts";

/** A level of a request: the field that holds what is below it. What it has besides is its head. */
interface Level {
  /** The field numbers that may hold children. */
  readonly children: readonly number[];
  /** Which of them count: all of the first number that is there, or only the last one as in a oneof. */
  readonly pick: "first-number" | "last";
}

const REQUEST: Level = { children: [1], pick: "first-number" };
/** Field 1000: scopes as OTLP before 0.15 sent them, which count where there are no others. */
const RESOURCE: Level = { children: [2, 1000], pick: "first-number" };
const SCOPE: Level = { children: [2], pick: "first-number" };
const METRIC: Level = { children: [5, 7, 9, 10, 11], pick: "last" };
const DATA: Level = { children: [1], pick: "first-number" };

/** From the request down to what holds the items. */
const LEVELS: { readonly [S in Signal]: readonly Level[] } = {
  traces: [REQUEST, RESOURCE, SCOPE],
  logs: [REQUEST, RESOURCE, SCOPE],
  metrics: [REQUEST, RESOURCE, SCOPE, METRIC, DATA],
};

/**
 * Splits a batch into pieces of `maxItems` items, the last one of what is left (the Collector's batch processor does
 * the same for send_batch_max_size). Items keep their order; each piece has the resource, scope and metric of its items
 * with all their fields, unknown ones too. A batch that is small enough comes back itself.
 *
 * `batch.bytes` must have passed `countItems`.
 * @throws RangeError unless maxItems is a positive integer
 */
export function splitBatch<S extends Signal>(batch: OtlpBatch<S>, maxItems: number): OtlpBatch<S>[] {
  if (!Number.isSafeInteger(maxItems) || maxItems < 1)
    throw new RangeError(`maxItems must be 1 or more, not ${maxItems}`);
  if (batch.items <= maxItems) return [batch];
  return new Splitter(batch, maxItems).split();
}

/** A message that is open in the piece at hand. */
interface Frame {
  /** The field that holds it in the message above. */
  readonly field: number;
  /** Its fields that are no children, encoded: repeated in every piece. */
  readonly head: Uint8Array;
  /** Its children in this piece, encoded. */
  readonly body: WireWriter;
}

class Splitter<S extends Signal> {
  readonly #batch: OtlpBatch<S>;
  readonly #levels: readonly Level[];
  readonly #maxItems: number;
  readonly #pieces: OtlpBatch<S>[] = [];
  /** The open messages, the request first. */
  readonly #frames: Frame[] = [];
  /** Items in the piece at hand. */
  #items = 0;

  constructor(batch: OtlpBatch<S>, maxItems: number) {
    this.#batch = batch;
    this.#levels = LEVELS[batch.signal];
    this.#maxItems = maxItems;
  }

  split(): OtlpBatch<S>[] {
    const { bytes } = this.#batch;
    this.#divide(0, 0, 0, bytes.length);
    return this.#pieces;
  }

  /** Puts the message `bytes[from, to)`, which is the `field` of the one above it, into pieces child by child. */
  #divide(level: number, field: number, from: number, to: number): void {
    const { bytes } = this.#batch;
    const { head, children } = partsOf(this.#levels[level] as Level, bytes, from, to);
    this.#frames.push({ field, head, body: new WireWriter() });
    for (const child of children) {
      const items = countBelow(this.#levels, level + 1, bytes, child.valueStart, child.valueEnd);
      if (this.#items + items > this.#maxItems) {
        if (this.#items === this.#maxItems) this.#flush();
        if (this.#items + items > this.#maxItems) {
          this.#divide(level + 1, child.field, child.valueStart, child.valueEnd);
          continue;
        }
      }
      this.#frames.at(-1)?.body.raw(bytes, child.start, child.valueEnd);
      this.#items += items;
    }
    if (level === 0) this.#flush();
    else this.#close();
  }

  /** Ends the piece: the open messages are written as they are and go on, without their children, in the next one. */
  #flush(): void {
    const bytes = this.#frames.reduceRight<Buffer | undefined>((below, frame, i) => {
      if (below) frame.body.bytes(this.#frames[i + 1]?.field ?? 0, below);
      return takeFrame(frame);
    }, undefined);
    if (bytes && this.#items > 0) this.#pieces.push({ signal: this.#batch.signal, bytes, items: this.#items });
    this.#items = 0;
  }

  /** Ends the innermost message. */
  #close(): void {
    const frame = this.#frames.pop();
    const bytes = frame && takeFrame(frame);
    if (bytes) this.#frames.at(-1)?.body.bytes(frame.field, bytes);
  }
}

/** The frame's message with the children that it has; `undefined` when it has none. */
function takeFrame({ head, body }: Frame): Buffer | undefined {
  if (body.length === 0) return undefined;
  const children = body.finish();
  return head.length === 0 ? children : Buffer.concat([head, children]);
}

interface Child {
  readonly field: number;
  readonly start: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

function partsOf(level: Level, bytes: Uint8Array, from: number, to: number): { head: Uint8Array; children: Child[] } {
  const fields: Child[] = [];
  const cursor = new WireCursor(bytes, from, to);
  while (cursor.next()) {
    const { field, start, valueStart, valueEnd } = cursor;
    fields.push({ field, start, valueStart, valueEnd });
  }
  const isChild = childTest(level, fields);
  const head = new WireWriter();
  for (const field of fields) if (!isChild(field)) head.raw(bytes, field.start, field.valueEnd);
  return { head: head.finish(), children: fields.filter(isChild) };
}

function childTest(level: Level, fields: readonly Child[]): (field: Child) => boolean {
  if (level.pick === "last") {
    const last = fields.findLast(({ field }) => level.children.includes(field));
    return (field) => field === last;
  }
  const number = level.children.find((child) => fields.some(({ field }) => field === child));
  return ({ field }) => field === number;
}

/** Items in the message `bytes[from, to)` of this level; below the last level one is an item. */
function countBelow(levels: readonly Level[], level: number, bytes: Uint8Array, from: number, to: number): number {
  const here = levels[level];
  if (here === undefined) return 1;
  const isLowest = level === levels.length - 1;
  const counts = here.children.map(() => 0);
  const present = here.children.map(() => false);
  let last = 0;
  const cursor = new WireCursor(bytes, from, to);
  while (cursor.next()) {
    const index = cursor.wire === LEN ? here.children.indexOf(cursor.field) : -1;
    if (index < 0) continue;
    last = isLowest ? 1 : countBelow(levels, level + 1, bytes, cursor.valueStart, cursor.valueEnd);
    counts[index] = (counts[index] ?? 0) + last;
    present[index] = true;
  }
  return here.pick === "last" ? last : (counts[present.indexOf(true)] ?? 0);
}
