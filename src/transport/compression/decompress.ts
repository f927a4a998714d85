/** Decoders for request bodies, every one bounded: by output bytes, and by time on the event loop. */
import { gunzip, gunzipSync, inflate, inflateSync } from "node:zlib";
import { CorruptError, TooLargeError } from "./errors.ts";
import { lz4Frames } from "./lz4.ts";
import { type Decoder, Output } from "./output.ts";
import { isSnappyFramed, snappyBlock, snappyFramed } from "./snappy.ts";
import { zstdFrames } from "./zstd.ts";

export { CorruptError, TooLargeError } from "./errors.ts";

/** "snappy" is the block format, or the framed one if the bytes begin as it does (the Collector's rule for that name). */
export type Encoding = "gzip" | "zlib" | "zstd" | "snappy" | "snappy-framed" | "lz4";

/** Compressed bodies up to this size are first tried on the event loop: cheaper than a thread for all ordinary requests. */
const SYNC_INPUT = 64 * 1024;
/** ... as long as they do not decode to more than this. */
const SYNC_OUTPUT = 1024 * 1024;
/** How long a decoder written in JavaScript may run before the event loop gets its turn. */
const STEP_MS = 5;
/** Bodies that take longer than that, or a thread, are decoded so many at a time: together they hold at most that many limits. */
const LONG_AT_ONCE = 4;

/**
 * Decodes `bytes` to at most `limit` bytes. Small bodies are decoded at once, large ones without blocking the event loop.
 * @throws CorruptError, TooLargeError: both also as rejections.
 */
export function decompress(encoding: Encoding, bytes: Uint8Array, limit: number): Uint8Array | Promise<Uint8Array> {
  switch (encoding) {
    case "gzip":
      return native(gzipFormat, bytes, limit);
    case "zlib":
      return native(zlibFormat, bytes, limit);
    case "zstd":
      return stepwise(zstdFrames, bytes, limit);
    case "snappy":
      return stepwise(isSnappyFramed(bytes) ? snappyFramed : snappyBlock, bytes, limit);
    case "snappy-framed":
      return stepwise(snappyFramed, bytes, limit);
    case "lz4":
      return stepwise(lz4Frames, bytes, limit);
  }
}

/** Runs a decoder to its end when that is near, else in turns with the rest of the program. */
function stepwise(decoder: Decoder, bytes: Uint8Array, limit: number): Uint8Array | Promise<Uint8Array> {
  const output = new Output(limit, bytes.length * 4);
  const steps = decoder(bytes, output);
  if (run(steps)) return output.finish();
  return longOnes.run(async () => {
    do await new Promise((resolve) => setImmediate(resolve));
    while (!run(steps));
    return output.finish();
  });
}

/** @returns true when the decoder has come to its end, false when its time is up. */
function run(steps: Generator<void, void, void>): boolean {
  const until = performance.now() + STEP_MS;
  while (!steps.next().done) if (performance.now() > until) return false;
  return true;
}

/** Lets so many tasks run at a time, the others wait in order. */
class Turnstile {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(places: number) {
    this.#free = places;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

const longOnes = new Turnstile(LONG_AT_ONCE);

interface NativeFormat {
  readonly sync: typeof gunzipSync;
  readonly async: typeof gunzip;
  /** @throws CorruptError when the bytes do not begin as the format does. */
  check(bytes: Uint8Array): void;
}

const gzipFormat: NativeFormat = {
  sync: gunzipSync,
  async: gunzip,
  check(bytes) {
    if (bytes.length === 0) throw new CorruptError("EOF");
    if (bytes.length < 10 && bytes[0] === 0x1f && bytes[1] === 0x8b) throw new CorruptError("unexpected EOF");
    if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) throw new CorruptError("gzip: invalid header");
  },
};

const zlibFormat: NativeFormat = {
  sync: inflateSync,
  async: inflate,
  check(bytes) {
    // RFC 1950: CMF (deflate, window up to 32 KiB), FLG; both as a number are a multiple of 31.
    if (bytes.length < 2) throw new CorruptError("unexpected EOF");
    const [cmf = 0, flg = 0] = bytes;
    if ((cmf & 15) !== 8 || cmf >> 4 > 7 || (cmf * 256 + flg) % 31 !== 0)
      throw new CorruptError("zlib: invalid header");
  },
};

function native(format: NativeFormat, bytes: Uint8Array, limit: number): Uint8Array | Promise<Uint8Array> {
  format.check(bytes);
  if (bytes.length <= SYNC_INPUT) {
    try {
      return format.sync(bytes, { maxOutputLength: Math.min(limit, SYNC_OUTPUT) });
    } catch (error) {
      const failure = nativeFailure(error, limit);
      if (!(failure instanceof TooLargeError) || limit <= SYNC_OUTPUT) throw failure;
    }
  }
  return longOnes.run(
    () =>
      new Promise<Uint8Array>((resolve, reject) => {
        format.async(bytes, { maxOutputLength: limit }, (error, plain) => {
          if (error) reject(nativeFailure(error, limit));
          else resolve(plain);
        });
      }),
  );
}

/** zlib's errors in the words of Go's compress/flate. */
function nativeFailure(error: unknown, limit: number): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ERR_BUFFER_TOO_LARGE") return new TooLargeError(limit);
  if (code === "Z_BUF_ERROR") return new CorruptError("unexpected EOF");
  return new CorruptError(/check/.test(message) ? "gzip: invalid checksum" : `flate: corrupt input (${message})`);
}
