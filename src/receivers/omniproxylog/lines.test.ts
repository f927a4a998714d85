import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cutLastLines, cutLines, type LineLimits } from "./lines.ts";

const wide: LineLimits = { lineBytes: 1000, lines: 1000 };

/** Lines as text, and where the rest begins. */
function cut(text: string, limits: LineLimits = wide, from = 0, by = cutLines): [lines: string[], next: number] {
  const bytes = Buffer.from(text, "latin1");
  const { bounds, count, next } = by(bytes, from, limits);
  expect(bounds.length).toBe(count * 2);
  return [Array.from({ length: count }, (_, i) => text.slice(bounds[2 * i], bounds[2 * i + 1])), next];
}

/** What a reader gets that sees the file grow to each of `sizes` and begins each time where the lines ended. */
function follow(bytes: Buffer, sizes: readonly number[], limits: LineLimits): string[] {
  const lines: string[] = [];
  let offset = 0;
  for (const size of [...sizes, bytes.length]) {
    for (;;) {
      const { bounds, count, next } = cutLines(bytes.subarray(offset, Math.max(offset, size)), 0, limits);
      for (let i = 0; i < count; i++)
        lines.push(bytes.toString("latin1", offset + (bounds[2 * i] ?? 0), offset + (bounds[2 * i + 1] ?? 0)));
      offset += next;
      if (count === 0) break;
    }
  }
  return lines;
}

describe("cutLines", () => {
  it("gives the whole lines and leaves the unfinished last one", () => {
    expect(cut("one\n\ntwo\r\nthr")).toEqual([["one", "", "two\r"], 10]);
    expect(cut("")).toEqual([[], 0]);
    expect(cut("no end")).toEqual([[], 0]);
  });

  it("begins at the given place", () => {
    expect(cut("\none\ntwo\n", wide, 1)).toEqual([["one", "two"], 9]);
  });

  it("keeps a line of exactly the longest length whole and cuts a longer one", () => {
    const limits = { lineBytes: 4, lines: 100 };
    expect(cut("abcd\n", limits)).toEqual([["abcd"], 5]);
    expect(cut("abcd", limits)).toEqual([[], 0]);
    expect(cut("abcde\n", limits)).toEqual([["abcd", "e"], 6]);
    expect(cut("abcdefgh\n", limits)).toEqual([["abcd", "efgh"], 9]);
    expect(cut("abcdefghi", limits)).toEqual([["abcd", "efgh"], 8]);
  });

  it("stops at the given number of lines", () => {
    expect(cut("a\nb\nc\n", { lineBytes: 10, lines: 2 })).toEqual([["a", "b"], 4]);
  });

  it("gives the same lines however the file grew", () => {
    const byte = fc.oneof({ weight: 3, arbitrary: fc.constant(10) }, fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        fc.array(byte, { maxLength: 300 }),
        fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 20 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 5 }),
        (content, cuts, lineBytes, lines) => {
          const bytes = Buffer.from(content);
          const sizes = cuts.map((size) => Math.min(size, bytes.length)).sort((a, b) => a - b);
          const expected = bytes
            .toString("latin1")
            .split("\n")
            .slice(0, -1)
            .flatMap((line) => (line === "" ? [""] : (line.match(new RegExp(`[^]{1,${lineBytes}}`, "g")) ?? [])));
          const found = follow(bytes, sizes, { lineBytes, lines });
          // Pieces of an unfinished over-long last line may follow the whole lines.
          expect(found.slice(0, expected.length)).toEqual(expected);
          expect(found).toEqual(follow(bytes, [], { lineBytes, lines: 1000 }));
        },
      ),
    );
  });

  it("cuts a buffer without line feeds in time that grows with its length", () => {
    const bytes = Buffer.alloc(4_000_000, "x");
    const { count } = cutLines(bytes, 0, { lineBytes: 1, lines: 4_000_000 });
    expect(count).toBe(3_999_999);
  });
});

describe("cutLastLines", () => {
  it("gives the unfinished last line too", () => {
    expect(cut("one\ntwo", wide, 0, cutLastLines)).toEqual([["one", "two"], 7]);
    expect(cut("one\n", wide, 0, cutLastLines)).toEqual([["one"], 4]);
    expect(cut("", wide, 0, cutLastLines)).toEqual([[], 0]);
  });

  it("leaves it for the next batch when this one is full", () => {
    expect(cut("a\nb", { lineBytes: 9, lines: 1 }, 0, cutLastLines)).toEqual([["a"], 2]);
  });
});
