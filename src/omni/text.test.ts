import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { displayWidth, formatDuration, pad, printable, truncate, wrap } from "./text.ts";

const ascii = { ascii: true };

describe("printable", () => {
  it("printable spells out an escape sequence when an id holds one", () => {
    expect(printable("a\u001b[2Jb\r\n\u0007\u009bx")).toBe("a\\x1b[2Jb\\x0d\\x0a\\x07\\x9bx");
  });

  it("printable spells out bidi overrides, zero-width characters, line separators and half pairs when a name holds them", () => {
    expect(printable("\u202e\u200b\u2028\ud800\u{e0001}")).toBe("\\u202e\\u200b\\u2028\\ud800\\u{e0001}");
  });

  it("printable leaves letters of any script alone when the style is not ascii", () => {
    expect(printable("id-ü中 🙂")).toBe("id-ü中 🙂");
  });

  it("printable leaves nothing above U+007E when the style is ascii", () => {
    expect(printable("ü中🙂~", ascii)).toBe("\\xfc\\u4e2d\\u{1f642}~");
  });

  it("printable keeps three combining marks when a character carries a heap of them", () => {
    expect(printable(`e${"\u0301".repeat(500)}f`)).toBe("e\u0301\u0301\u0301…f");
  });

  it("printable never lets a control character through when fed anything", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(printable(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
        expect(printable(text, ascii)).toMatch(/^[ -~]*$/);
      }),
    );
  });
});

describe("displayWidth and pad", () => {
  it("displayWidth counts two columns for East Asian characters and none for combining marks", () => {
    expect(displayWidth("ab")).toBe(2);
    expect(displayWidth("中文")).toBe(4);
    expect(displayWidth("e\u0301")).toBe(1);
    expect(displayWidth("🙂")).toBe(2);
  });

  it("pad gives exactly the asked columns when text is shorter, longer or wide", () => {
    expect(pad("abc", 5)).toBe("abc  ");
    expect(pad("abcdef", 5)).toBe("abcd…");
    expect(pad("中文中文", 5)).toBe("中文…");
    expect(pad("中文中文", 4)).toBe("中… ");
    expect(pad("abcdef", 5, ascii)).toBe("abc..");
    expect(pad("abcdef", 1, ascii)).toBe(".");
    expect(pad("abc", 0)).toBe("");
  });

  it("pad fills any column count exactly when fed anything printable", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme" }),
        fc.integer({ min: 0, max: 40 }),
        fc.boolean(),
        (text, columns, isAscii) => {
          const style = { ascii: isAscii };
          expect(displayWidth(pad(printable(text, style), columns, style))).toBe(columns);
        },
      ),
    );
  });

  it("truncate leaves text alone when it fits to the column", () => {
    expect(truncate("abcde", 5)).toBe("abcde");
  });
});

describe("wrap", () => {
  it("wrap breaks at blanks when the text is longer than a line", () => {
    expect(wrap("Enter state D waiting, Enter state D scheduled", 24, 4)).toEqual([
      "Enter state D waiting,",
      "Enter state D scheduled",
    ]);
    expect(wrap("short", 24, 4)).toEqual(["short"]);
    expect(wrap("", 24, 4)).toEqual([]);
  });

  it("wrap cuts the last line when there are too many, and words when they are too long", () => {
    expect(wrap("aaa bbb ccc ddd", 7, 1)).toEqual(["aaa bb…"]);
    expect(wrap("abcdefghij", 4, 9)).toEqual(["abcd", "efgh", "ij"]);
    expect(wrap("aaa bbb ccc ddd", 7, 1, ascii)).toEqual(["aaa b.."]);
  });

  it("wrap keeps to the columns and loses nothing but blanks when fed anything printable", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 4, max: 40 }), (raw, columns) => {
        const text = printable(raw);
        const lines = wrap(text, columns, 1000);
        for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(columns);
        expect(lines.join("").replaceAll(" ", "")).toBe(text.replaceAll(" ", ""));
      }),
    );
  });
});

describe("formatDuration", () => {
  it.each([
    [0, "0 s"],
    [250, "250 ns"],
    [999.4, "999 ns"],
    [999.6, "1 µs"],
    [4_000, "4 µs"],
    [31_600, "31.6 µs"],
    [999_600, "1 ms"],
    [1_236_000, "1.24 ms"],
    [9_996_000, "10 ms"],
    [99_960_000, "100 ms"],
    [353_523_000, "354 ms"],
    [999_600_000, "1 s"],
    [24_982_000_000, "25 s"],
    [99_400_000_000, "99.4 s"],
    [185_000_000_000, "3 min 5 s"],
    [3_599_600_000_000, "1 h 0 min"],
    [7_199_000_000_000, "2 h 0 min"],
    [-1_200_000, "-1.2 ms"],
  ])("formatDuration writes %d ns as %s", (ns, text) => {
    expect(formatDuration(ns)).toBe(text);
  });

  it("formatDuration takes bigints and spells µs as us when the style is ascii", () => {
    expect(formatDuration(31_600n, ascii)).toBe("31.6 us");
    expect(formatDuration(2n ** 64n - 1n)).toBe("5124095 h 35 min");
  });

  it("formatDuration gives a question mark when the value is no number", () => {
    expect(formatDuration(Number.NaN)).toBe("?");
  });
});
