import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Compression, compressionNames, compressionProblem, compressor } from "./compress.ts";
import { decompress, type Encoding } from "./decompress.ts";

const usable = compressionNames.filter((name) => name !== "" && name !== "none" && !compressionProblem(name));
const decoders: Readonly<Partial<Record<Compression, Encoding>>> = {
  gzip: "gzip",
  zlib: "zlib",
  deflate: "zlib",
  zstd: "zstd",
  snappy: "snappy",
  "x-snappy-framed": "snappy-framed",
};

/** Bytes that repeat themselves, of any length up to several chunks of the framed format. */
const anyBytes = fc
  .tuple(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 1, max: 1000 }))
  .map(([part, times]) => Buffer.concat(Array.from({ length: times }, () => part)));

describe("compressor", () => {
  it.each(usable)("makes of anything what the %s decoder reads back", async (name) => {
    const compress = compressor(name, 0);
    await fc.assert(
      fc.asyncProperty(anyBytes, async (bytes) => {
        const compressed = (await compress?.(bytes)) ?? expect.fail("no compressor");
        const decoded = await decompress(decoders[name] ?? expect.fail(name), compressed, bytes.length + 1);
        expect(bytes.equals(decoded)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it.each(["", "none"] as const)("is undefined for %j", (name) => {
    expect(compressor(name, 0)).toBeUndefined();
  });

  it("takes a level: 9 is smaller than 1, -2 larger than both", async () => {
    const text = Buffer.from(Array.from({ length: 20_000 }, (_, at) => `span ${at % 977} of ${at % 31}`).join());
    const size = async (level: number) => (await compressor("gzip", level)?.(text))?.length ?? 0;
    const [small, fast, huffman] = [await size(9), await size(1), await size(-2)];
    expect(await size(0)).toBe(fast);
    expect(await size(-1)).toBeLessThan(fast);
    expect(small).toBeLessThan(fast);
    expect(fast).toBeLessThan(huffman);
  });

  it("throws for what compressionProblem names", () => {
    expect(compressionProblem("lz4")).toBe('compression "lz4" is not available for sending in this build');
    expect(() => compressor("lz4", 0)).toThrow('compression "lz4" is not available');
  });
});
