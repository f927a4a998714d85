import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromHex, parseTraceparent, toHex } from "./ids.ts";

describe("fromHex", () => {
  it("reads what toHex writes, in either case", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(toHex(bytes)).toMatch(/^[0-9a-f]*$/);
        expect(fromHex(toHex(bytes))).toEqual(Buffer.from(bytes));
        expect(fromHex(toHex(bytes).toUpperCase())).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it.each(["0", "0g", "zz", "00-1", "0x00", "é0", " 00"])("gives undefined for %j", (text) => {
    expect(fromHex(text)).toBeUndefined();
  });
});

describe("toHex", () => {
  it("takes a part of the bytes", () => {
    expect(toHex(Uint8Array.of(1, 2, 3, 255), 1, 4)).toBe("0203ff");
    expect(toHex(Uint8Array.of(9, 9, 1, 2).subarray(2))).toBe("0102");
  });
});

describe("parseTraceparent", () => {
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  const spanId = "00f067aa0ba902b7";

  it.each([
    [`00-${traceId}-${spanId}-01`, 1],
    [`00-${traceId}-${spanId}-00`, 0],
    [` \t00-${traceId}-${spanId}-ff\t`, 255],
    [`01-${traceId}-${spanId}-01-what-a-later-version-adds`, 1],
    [`fe-${traceId}-${spanId}-01`, 1],
  ])("reads %j", (text, flags) => {
    expect(parseTraceparent(text)).toEqual({ traceId, spanId, flags });
  });

  it.each([
    ["empty", ""],
    ["in upper case", `00-${traceId.toUpperCase()}-${spanId}-01`],
    ["of version ff", `ff-${traceId}-${spanId}-01`],
    ["of version 00 with more behind it", `00-${traceId}-${spanId}-01-x`],
    ["with an all-zero trace id", `00-${"0".repeat(32)}-${spanId}-01`],
    ["with an all-zero span id", `00-${traceId}-${"0".repeat(16)}-01`],
    ["with a short trace id", `00-${traceId.slice(1)}-${spanId}-01`],
    ["without flags", `00-${traceId}-${spanId}`],
    ["with one digit of flags", `00-${traceId}-${spanId}-1`],
    ["followed by other text", `00-${traceId}-${spanId}-01, 00-${traceId}-${spanId}-01`],
    ["with a line feed", `00-${traceId}-${spanId}-01\n`],
  ])("gives undefined for one %s", (_, text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });
});
