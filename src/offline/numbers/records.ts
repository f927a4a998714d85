/** Requests by a figure, any number of them: which is nearest to a value. */
import type { Scratch, Segment } from "./scratch.ts";

/** A request as far as it is kept. */
export interface RequestRecord {
  readonly value: number;
  /** Unix microseconds. */
  readonly startUs: number;
  readonly traceId: string;
  readonly rootSpanId: string;
  /** As text, cut to 48 bytes. */
  readonly id: string;
}

const ID_BYTES = 48;
const TRACE_AT = 16;
const SPAN_AT = 32;
const LENGTH_AT = 40;
const ID_AT = 41;
const RECORD_BYTES = 96;
/** Records that stay in memory. */
const BLOCK = 16_384;

export class Records {
  readonly #scratch: Scratch;
  readonly #segments: Segment[] = [];
  readonly #block = Buffer.alloc(BLOCK * RECORD_BYTES);
  #filled = 0;

  constructor(scratch: Scratch) {
    this.#scratch = scratch;
  }

  add(record: RequestRecord): void {
    if (this.#filled === BLOCK) {
      this.#segments.push(this.#scratch.keep(this.#block));
      this.#filled = 0;
    }
    const at = this.#filled++ * RECORD_BYTES;
    this.#block.writeDoubleLE(record.value, at);
    this.#block.writeDoubleLE(record.startUs, at + 8);
    this.#block.write(record.traceId, at + TRACE_AT, "hex");
    this.#block.write(record.rootSpanId, at + SPAN_AT, "hex");
    this.#block[at + LENGTH_AT] = this.#block.write(record.id, at + ID_AT, ID_BYTES, "utf8");
  }

  /** For each target the record whose value is nearest, the earliest added among equals; undefined when there is none. */
  nearest(targets: readonly number[]): (RequestRecord | undefined)[] {
    const best = targets.map(() => ({ gap: Number.POSITIVE_INFINITY, record: undefined as RequestRecord | undefined }));
    const look = (block: Buffer, count: number): void => {
      for (let i = 0; i < count; i++) {
        const value = block.readDoubleLE(i * RECORD_BYTES);
        for (const [n, target] of targets.entries()) {
          const gap = Math.abs(value - target);
          const held = best[n] as (typeof best)[number];
          if (gap >= held.gap) continue;
          held.gap = gap;
          held.record = read(block, i * RECORD_BYTES);
        }
      }
    };
    if (this.#segments.length > 0) {
      const block = Buffer.alloc(BLOCK * RECORD_BYTES);
      for (const segment of this.#segments) {
        this.#scratch.read(segment, block);
        look(block, BLOCK);
      }
    }
    look(this.#block, this.#filled);
    return best.map(({ record }) => record);
  }
}

function read(block: Buffer, at: number): RequestRecord {
  return {
    value: block.readDoubleLE(at),
    startUs: block.readDoubleLE(at + 8),
    traceId: block.toString("hex", at + TRACE_AT, at + SPAN_AT),
    rootSpanId: block.toString("hex", at + SPAN_AT, at + LENGTH_AT),
    id: block.toString("utf8", at + ID_AT, at + ID_AT + (block[at + LENGTH_AT] as number)),
  };
}
