import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FIXED32, FIXED64, LEN, readVarint, VARINT, varintSize, WireCursor, WireError, WireWriter } from "./wire.ts";

describe("WireCursor", () => {
  it("next ends or throws a WireError on arbitrary bytes, and never looks beyond its range", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(60), fc.nat(60), (bytes, a, b) => {
        const from = Math.min(a, b, bytes.length);
        const to = Math.min(Math.max(a, b), bytes.length);
        const seen = walk(bytes, from, to);
        // What lies beyond the range makes no difference.
        expect(walk(bytes.slice(0, to), from, to)).toEqual(seen);
        for (const field of seen.fields) {
          expect(field.valueStart).toBeGreaterThan(field.start);
          expect(field.valueEnd).toBeLessThanOrEqual(to);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ["a truncated varint", [0x08, 0x80], "unexpected EOF"],
    ["a varint of eleven bytes", [0x08, ...Array<number>(10).fill(0xff), 0x01], "proto: integer overflow"],
    ["a length beyond the end", [0x0a, 0x05, 0x01], "unexpected EOF"],
    ["a missing length", [0x0a], "unexpected EOF"],
    [
      "a length of 2^63",
      [0x0a, ...Array<number>(9).fill(0x80), 0x01],
      "proto: negative length found during unmarshaling",
    ],
    ["a truncated fixed64", [0x09, 1, 2, 3], "unexpected EOF"],
    ["a truncated fixed32", [0x0d, 1, 2, 3], "unexpected EOF"],
    ["field 0", [0x02, 0x00], "proto: Link: illegal field=0 (tag=2, pos=1)"],
    ["wire type 7", [0x0f, 0x00], "proto: illegal wireType 7"],
    ["the end of a group that did not start", [0x0c, 0x00], "proto: unexpected end of group"],
    ["groups without an end", Array<number>(10_000).fill(0x0b), "unexpected EOF"],
  ])("next throws the Collector's message when it meets %s", (_, bytes, message) => {
    expect(() => walkAll(new Uint8Array(bytes))).toThrow(new WireError(message));
  });

  it("reads back what WireWriter wrote", () => {
    const field = fc.integer({ min: 1, max: 2 ** 29 - 1 });
    const entry = fc.oneof(
      fc.tuple(fc.constant("uint" as const), field, fc.maxSafeNat()),
      fc.tuple(fc.constant("int64" as const), field, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
      fc.tuple(fc.constant("fixed64" as const), field, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
      fc.tuple(fc.constant("fixed32" as const), field, fc.nat(2 ** 32 - 1)),
      fc.tuple(fc.constant("double" as const), field, fc.double()),
      fc.tuple(fc.constant("string" as const), field, fc.string({ unit: "binary", maxLength: 300 })),
      fc.tuple(fc.constant("bytes" as const), field, fc.uint8Array({ maxLength: 300 })),
    );
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 8 }), (entries) => {
        const writer = new WireWriter(1);
        writer.message(1, (inner) => {
          for (const [kind, number, value] of entries) (inner[kind] as (f: number, v: unknown) => void)(number, value);
        });
        const outer = new WireCursor(writer.finish());
        expect(outer.next()).toBe(true);
        const cursor = new WireCursor(outer.bytes, outer.valueStart, outer.valueEnd);
        for (const [kind, number, value] of entries) {
          expect(cursor.next()).toBe(true);
          expect(cursor.field).toBe(number);
          expect(cursor.wire).toBe(WIRE[kind]);
          expect(READ[kind](cursor)).toEqual(value);
        }
        expect(cursor.next()).toBe(false);
        expect(outer.next()).toBe(false);
      }),
    );
  });

  it("uint32 keeps the low 32 bits of a longer varint, as protobuf does", () => {
    const cursor = new WireCursor(new WireWriter().int64(1, -2n).finish());
    cursor.next();
    expect(cursor.uint32()).toBe(2 ** 32 - 2);
    expect(cursor.uint32() | 0).toBe(-2);
    expect(cursor.int64()).toBe(-2n);
  });
});

describe("readVarint", () => {
  it("drops the bits beyond 64, as Go does", () => {
    const bytes = new Uint8Array([0x82, ...Array<number>(8).fill(0x80), 0x7e]);
    expect(readVarint(bytes, 0, bytes.length)).toBe(2);
  });
});

describe("WireWriter", () => {
  it("takes varintSize bytes for a varint", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        const bytes = new WireWriter().varint(value).finish();
        expect(bytes).toHaveLength(varintSize(value));
        expect(readVarint(bytes, 0, bytes.length)).toBe(value);
      }),
    );
  });

  it("writes microseconds and hex as fixed64 and bytes write them", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.uint8Array(), (micros, bytes) => {
        const hex = Buffer.from(bytes).toString("hex");
        expect(new WireWriter().nanosOfMicros(1, micros).finish()).toEqual(
          new WireWriter().fixed64(1, BigInt(micros) * 1000n).finish(),
        );
        for (const digits of [hex, hex.toUpperCase()])
          expect(new WireWriter().hex(2, digits).finish()).toEqual(new WireWriter().bytes(2, bytes).finish());
      }),
    );
  });

  it("is empty again after finish, and what it gave stays as it was", () => {
    const writer = new WireWriter();
    const first = writer.string(1, "first").finish();
    expect(writer.length).toBe(0);
    writer.string(1, "other");
    expect(first.subarray(2).toString()).toBe("first");
  });
});

const WIRE = {
  uint: VARINT,
  int64: VARINT,
  fixed64: FIXED64,
  fixed32: FIXED32,
  double: FIXED64,
  string: LEN,
  bytes: LEN,
};

const READ = {
  uint: (cursor: WireCursor) => cursor.varint(),
  int64: (cursor: WireCursor) => cursor.int64(),
  fixed64: (cursor: WireCursor) => cursor.fixed64(),
  fixed32: (cursor: WireCursor) => cursor.fixed32(),
  double: (cursor: WireCursor) => cursor.double(),
  string: (cursor: WireCursor) => cursor.string(),
  bytes: (cursor: WireCursor) => new Uint8Array(cursor.view()),
};

interface Walked {
  fields: { field: number; wire: number; start: number; valueStart: number; valueEnd: number }[];
  error: string | undefined;
}

function walk(bytes: Uint8Array, from: number, to: number): Walked {
  const fields: Walked["fields"] = [];
  const cursor = new WireCursor(bytes, from, to);
  try {
    while (cursor.next()) {
      const { field, wire, start, valueStart, valueEnd } = cursor;
      fields.push({ field, wire, start, valueStart, valueEnd });
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return { fields, error: error.message };
  }
  return { fields, error: undefined };
}

function walkAll(bytes: Uint8Array): void {
  const cursor = new WireCursor(bytes);
  while (cursor.next());
}
