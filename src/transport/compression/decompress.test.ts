import { readFileSync } from "node:fs";
import { deflateSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import snappyjs from "snappyjs";
import { describe, expect, it } from "vitest";
import { crc32c, xxh32 } from "./checksums.ts";
import { CorruptError, decompress, type Encoding, TooLargeError } from "./decompress.ts";

interface Vector {
  readonly encoding: Encoding;
  readonly by: string;
  readonly plain: string;
  readonly bytes: string;
}

const vectors: Vector[] = JSON.parse(
  readFileSync(new URL("../../../test/fixtures/compression/vectors.json", import.meta.url), "utf8"),
);

/** Log-like lines from a linear congruential generator: the text behind the vectors. */
function plainText(lines: number): Buffer {
  let seed = 12_345;
  const next = (n: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 8) % n;
  };
  const two = (): string => String(next(60)).padStart(2, "0");
  const id = (): string => next(1 << 24).toString(16);
  const states = ["PREFILL", "DECODE", "WAITING", "RUNNING"];
  const out: string[] = [];
  for (let line = 0; line < lines; line++)
    out.push(
      `2026-11-22T10:${two()}:${two()} request chatcmpl-${id()}-${id()} state ${states[next(4)]} tokens ${next(4096)}\n`,
    );
  return Buffer.from(out.join(""));
}

const plains: Readonly<Record<string, Buffer>> = {
  empty: Buffer.alloc(0),
  short: plainText(3),
  medium: plainText(200),
  long: Buffer.concat(Array.from({ length: 12 }, () => plainText(300))),
  zeros: Buffer.alloc(400_000),
};

const LIMIT = 1024 * 1024;
const fromBase64 = (text: string): Buffer => Buffer.from(text, "base64");
const vector = (encoding: Encoding, plain: string): Buffer => {
  const found = vectors.find((v) => v.encoding === encoding && v.plain === plain);
  if (!found) throw new Error(`no vector ${encoding} ${plain}`);
  return fromBase64(found.bytes);
};
const decode = async (encoding: Encoding, bytes: Uint8Array, limit = LIMIT): Promise<Buffer> =>
  Buffer.from(await decompress(encoding, bytes, limit));
/** What `decompress` throws, whether at once or later. */
const failure = async (encoding: Encoding, bytes: Uint8Array, limit = LIMIT): Promise<Error> => {
  try {
    await decompress(encoding, bytes, limit);
  } catch (error) {
    return error as Error;
  }
  throw new Error("it was decoded");
};

describe("decompress", () => {
  it.each(vectors)("decodes $encoding by $by: $plain", async ({ encoding, plain, bytes }) => {
    expect((await decode(encoding, fromBase64(bytes))).equals(plains[plain] as Buffer)).toBe(true);
  });

  it("decodes gzip and zlib, several gzip members too", async () => {
    const { medium = Buffer.alloc(0), long = Buffer.alloc(0) } = plains;
    expect((await decode("gzip", gzipSync(medium))).equals(medium)).toBe(true);
    expect((await decode("zlib", deflateSync(long))).equals(long)).toBe(true);
    expect((await decode("gzip", Buffer.concat([gzipSync("a"), gzipSync("b")]))).toString()).toBe("ab");
  });

  it("decodes large gzip bodies on a thread when they do not fit a quick try", async () => {
    const plain = Buffer.alloc(3 * LIMIT, "otlp");
    const result = decompress("gzip", gzipSync(plain), 4 * LIMIT);
    expect(result).toBeInstanceOf(Promise);
    expect(plain.equals(await result)).toBe(true);
  });

  it("takes the framed format under the name snappy too", async () => {
    expect((await decode("snappy", vector("snappy-framed", "medium"))).equals(plains["medium"] as Buffer)).toBe(true);
  });

  it.each<[Encoding, Buffer]>([
    ["gzip", gzipSync(Buffer.alloc(LIMIT + 1))],
    ["gzip", gzipSync(Buffer.alloc(100 * LIMIT))],
    ["zlib", deflateSync(Buffer.alloc(LIMIT + 1))],
  ])("refuses a %s bomb", async (encoding, bomb) => {
    expect(await failure(encoding, bomb)).toBeInstanceOf(TooLargeError);
  });

  it.each<Encoding>(["zstd", "snappy", "snappy-framed", "lz4"])("refuses a %s bomb", async (encoding) => {
    const bomb = vector(encoding, "zeros");
    expect(await failure(encoding, bomb, 399_999)).toBeInstanceOf(TooLargeError);
    expect((await decode(encoding, bomb, 400_000)).length).toBe(400_000);
  });

  it("refuses a snappy length that no input of that size can have before it takes the memory", async () => {
    // Says 1 MiB, holds one literal byte.
    expect(await failure("snappy", Buffer.from([0x80, 0x80, 0x40, 0x00, 0x61]))).toBeInstanceOf(CorruptError);
  });

  it("refuses a zstd frame that says it is larger than the limit without decoding it", async () => {
    // Frame content size of eight bytes: 2^40.
    const bytes = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]);
    expect(await failure("zstd", bytes)).toBeInstanceOf(TooLargeError);
  });

  it("does not take memory for a zstd window of 2 GiB", async () => {
    // Window descriptor 0xa8: 2^31 bytes. One raw block "otlp".
    const bytes = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x21, 0, 0, 0x6f, 0x74, 0x6c, 0x70]);
    const before = process.memoryUsage().arrayBuffers;
    expect((await decode("zstd", bytes)).toString()).toBe("otlp");
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(LIMIT);
  });

  it("refuses zstd blocks larger than the format allows", async () => {
    // An RLE block of 2^21 - 1 bytes.
    const bytes = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50, 0xfb, 0xff, 0xff, 0x61]);
    expect(await failure("zstd", bytes, 64 * LIMIT)).toBeInstanceOf(CorruptError);
  });

  it.each<[Encoding, string]>([
    ["gzip", "gzip: invalid header"],
    ["zlib", "zlib: invalid header"],
    ["zstd", "magic number mismatch"],
    ["lz4", "bad magic number"],
    ["snappy-framed", "corrupt input"],
  ])("says that a %s body is none", async (encoding, words) => {
    const error = await failure(encoding, Buffer.from("not compressed at all"));
    expect(error).toBeInstanceOf(CorruptError);
    expect(error.message).toContain(words);
  });

  it.each<Encoding>(["gzip", "zlib", "zstd", "snappy", "snappy-framed", "lz4"])(
    "refuses every truncation of a %s body",
    async (encoding) => {
      const whole =
        encoding === "gzip"
          ? gzipSync("short")
          : encoding === "zlib"
            ? deflateSync("short")
            : vector(encoding, "short");
      for (let length = 1; length < whole.length; length++) {
        // The ten bytes of a snappy stream identifier are a whole stream without content.
        if (encoding === "snappy-framed" && length === 10) continue;
        expect(await failure(encoding, whole.subarray(0, length)), `${length} of ${whole.length}`).toBeInstanceOf(
          CorruptError,
        );
      }
    },
  );

  it.each<Encoding>(["snappy-framed", "lz4"])(
    "notices every changed content byte by the checksums of %s",
    async (encoding) => {
      const whole = vector(encoding, "short");
      for (let at = 30; at < whole.length - 8; at += 7) {
        const broken = Buffer.from(whole);
        broken[at] = (broken[at] as number) ^ 0x40;
        expect(await failure(encoding, broken), `byte ${at}`).toBeInstanceOf(CorruptError);
      }
    },
  );

  it("gives a value or a known error, within its limit, when bytes are changed at random", async () => {
    const encodings: Encoding[] = ["gzip", "zlib", "zstd", "snappy", "snappy-framed", "lz4"];
    const bodies = (encoding: Encoding): Buffer[] =>
      vectors.filter((v) => v.encoding === encoding && v.plain !== "long").map((v) => fromBase64(v.bytes));
    const seeds = new Map<Encoding, Buffer[]>(encodings.map((encoding) => [encoding, bodies(encoding)]));
    seeds.set("gzip", [gzipSync(plains["medium"] as Buffer)]);
    seeds.set("zlib", [deflateSync(plains["medium"] as Buffer)]);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...encodings),
        fc.nat(),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 8 }),
        async (encoding, which, changes) => {
          const list = seeds.get(encoding) as Buffer[];
          const bytes = Buffer.from(list[which % list.length] as Buffer);
          for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
          try {
            expect((await decompress(encoding, bytes, 100_000)).length).toBeLessThanOrEqual(100_000);
          } catch (error) {
            expect(error instanceof CorruptError || error instanceof TooLargeError, String(error)).toBe(true);
          }
        },
      ),
      { numRuns: 3000 },
    );
  });

  it("gives a value or a known error for arbitrary bytes", async () => {
    const heads: Readonly<Partial<Record<Encoding, readonly number[]>>> = {
      zstd: [0x28, 0xb5, 0x2f, 0xfd],
      lz4: [0x04, 0x22, 0x4d, 0x18],
      gzip: [0x1f, 0x8b, 8],
    };
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<Encoding>("gzip", "zlib", "zstd", "snappy", "snappy-framed", "lz4"),
        fc.uint8Array({ maxLength: 200 }),
        async (encoding, tail) => {
          const bytes = Buffer.concat([Buffer.from(heads[encoding] ?? []), tail]);
          try {
            expect((await decompress(encoding, bytes, 10_000)).length).toBeLessThanOrEqual(10_000);
          } catch (error) {
            expect(error instanceof CorruptError || error instanceof TooLargeError, String(error)).toBe(true);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("gives back what snappyjs compressed", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom("span", "trace", "\0", "chatcmpl-", "x".repeat(70))), async (words) => {
        const plain = Buffer.from(words.join(""));
        expect((await decode("snappy", snappyjs.compress(plain))).equals(plain)).toBe(true);
      }),
    );
  });

  it("lets the event loop run while it decodes a large body", async () => {
    const plain = Buffer.alloc(64 * LIMIT);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const block = snappyjs.compress(plain);
    turns = 0;
    expect((await decode("snappy", block, 64 * LIMIT)).length).toBe(plain.length);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(1);
  });
});

describe("crc32c", () => {
  it("is as RFC 3720 says", () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  });
});

describe("xxh32", () => {
  it("is as the reference implementation says", () => {
    expect(xxh32(Buffer.alloc(0))).toBe(0x02cc5d05);
    expect(xxh32(Buffer.from("a"))).toBe(0x550d7456);
    expect(xxh32(Buffer.from("Nobody inspects the spammish repetition"))).toBe(0xe2293b2f);
  });
});
