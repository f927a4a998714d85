/** What stands in the journal besides log batches, which are kept as they came. */
import type { NamedSpan } from "../../omni/merge.ts";
import type { SentMark } from "../../omni/sent-marks.ts";
import { resourceFacts, type SpanFacts } from "../../omni/span-scan.ts";

/** Tags of records. Numbers are never given a second meaning. */
export const LINES = 1;
export const SPANS = 2;
export const SENT = 3;
/** Lines of which some are in an earlier record too; which, is said before the batch. */
export const LINES_AGAIN = 4;

const MARK_BYTES = 16;

/** 64-bit times are text in JSON, and a map is a list of pairs. */
type Written = Omit<SpanFacts, "startNanos" | "endNanos" | "resource" | "places"> & {
  readonly startNanos: string;
  readonly endNanos: string;
  readonly resource: readonly (readonly [string, string])[];
};

/** Spans as JSON. */
export function encodeSpans(spans: readonly NamedSpan[]): Buffer {
  return Buffer.from(
    JSON.stringify(
      spans.map(({ facts, home }) => ({
        facts: written(facts),
        home,
      })),
    ),
  );
}

/** Field by field: what a scan gives has its fields behind getters. */
function written(facts: SpanFacts): Written {
  return {
    index: facts.index,
    traceId: facts.traceId,
    spanId: facts.spanId,
    parentSpanId: facts.parentSpanId,
    startUs: facts.startUs,
    endUs: facts.endUs,
    startNanos: String(facts.startNanos),
    endNanos: String(facts.endNanos),
    requestId: facts.requestId,
    fromVllm: facts.fromVllm,
    maxTokens: facts.maxTokens,
    completionTokens: facts.completionTokens,
    promptTokens: facts.promptTokens,
    model: facts.model,
    toldRole: facts.toldRole,
    resource: [...facts.resource.attributes],
  };
}

/** The spans that `encodeSpans` was given. */
export function decodeSpans(bytes: Buffer): NamedSpan[] {
  const spans = JSON.parse(bytes.toString()) as { facts: Written; home?: NamedSpan["home"] }[];
  return spans.map(({ facts, home }) => ({
    facts: {
      ...facts,
      startNanos: BigInt(facts.startNanos),
      endNanos: BigInt(facts.endNanos),
      resource: resourceFacts(new Map(facts.resource)),
    },
    home,
  }));
}

/** Two doubles a mark. */
export function encodeMarks(marks: readonly SentMark[]): Buffer {
  const bytes = Buffer.allocUnsafe(marks.length * MARK_BYTES);
  marks.forEach(({ key, rest }, index) => {
    bytes.writeDoubleLE(key, index * MARK_BYTES);
    bytes.writeDoubleLE(rest, index * MARK_BYTES + 8);
  });
  return bytes;
}

/** The marks that `encodeMarks` was given. */
export function decodeMarks(bytes: Buffer): SentMark[] {
  const marks: SentMark[] = [];
  for (let at = 0; at + MARK_BYTES <= bytes.length; at += MARK_BYTES)
    marks.push({ key: bytes.readDoubleLE(at), rest: bytes.readDoubleLE(at + 8) });
  return marks;
}

/**
 * Says how many lines of each source came before, sources in the order in which the batch names them: a 32-bit count of
 * sources, then one 32-bit number for each. It stands in front of the batch.
 */
export function encodeSkips(skips: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 + skips.length * 4);
  bytes.writeUInt32LE(skips.length, 0);
  for (const [index, skip] of skips.entries()) bytes.writeUInt32LE(skip, 4 + index * 4);
  return bytes;
}

/** What `encodeSkips` was given, and the batch behind it. @throws RangeError when it is cut */
export function decodeSkips(bytes: Buffer): { readonly skips: number[]; readonly batch: Buffer } {
  const count = bytes.readUInt32LE(0);
  const skips = Array.from({ length: Math.min(count, bytes.length) }, (_, index) => bytes.readUInt32LE(4 + index * 4));
  return { skips, batch: bytes.subarray(4 + count * 4) };
}
