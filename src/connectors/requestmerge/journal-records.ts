/** What stands in the journal besides log batches, which are kept as they came. */
import type { NamedSpan } from "../../omni/merge.ts";
import type { SentMark } from "../../omni/sent-marks.ts";
import type { SpanFacts } from "../../omni/span-scan.ts";

/** Tags of records. Numbers are never given a second meaning. */
export const LINES = 1;
export const SPANS = 2;
export const SENT = 3;
/** Lines of which the first ones are in an earlier record too. */
export const LINES_AGAIN = 4;

const MARK_BYTES = 16;

/** 64-bit times are text in JSON, and a map is a list of pairs. */
type Written = Omit<SpanFacts, "startNanos" | "endNanos" | "resource"> & {
  readonly startNanos: string;
  readonly endNanos: string;
  readonly resource: readonly (readonly [string, string])[];
};

/** Spans as JSON. */
export function encodeSpans(spans: readonly NamedSpan[]): Buffer {
  return Buffer.from(
    JSON.stringify(
      spans.map(({ facts, home }) => ({
        facts: {
          ...facts,
          startNanos: String(facts.startNanos),
          endNanos: String(facts.endNanos),
          resource: [...facts.resource.attributes],
        } satisfies Written,
        home,
      })),
    ),
  );
}

/** The spans that `encodeSpans` was given. */
export function decodeSpans(bytes: Buffer): NamedSpan[] {
  const written = JSON.parse(bytes.toString()) as { facts: Written; home?: NamedSpan["home"] }[];
  return written.map(({ facts, home }) => ({
    facts: {
      ...facts,
      startNanos: BigInt(facts.startNanos),
      endNanos: BigInt(facts.endNanos),
      resource: { attributes: new Map(facts.resource) },
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
