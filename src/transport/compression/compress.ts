/** Compression of what is sent: the Collector's names (config/configcompression). */
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import snappyjs from "snappyjs";
import { crc32c } from "./checksums.ts";

/** The Collector's names; "" is "none". */
export const compressionNames = [
  "gzip",
  "zstd",
  "zlib",
  "deflate",
  "snappy",
  "x-snappy-framed",
  "lz4",
  "none",
  "",
] as const;
export type Compression = (typeof compressionNames)[number];

type Compress = (bytes: Uint8Array) => Promise<Uint8Array>;

/** zlib's zstd came with Node 22.15. */
const zstd = (zlib as { zstdCompress?: typeof zlib.gzip }).zstdCompress;

/** Says why this process cannot produce a compression, or undefined when it can. */
export function compressionProblem(name: Compression): string | undefined {
  switch (name) {
    case "zstd":
      return zstd ? undefined : 'compression "zstd" needs Node 22.15 or newer';
    case "lz4":
      return 'compression "lz4" is not available for sending in this build';
    default:
      return undefined;
  }
}

/**
 * A function that compresses, or undefined for no compression.
 * @throws Error when `compressionProblem` says so
 * @param level 1 (fast) to 9 (small) for gzip, zlib and deflate, any for zstd, none for snappy;
 * -1 is the library's default, -2 is Huffman only; 0 is DEFAULT_LEVEL, of zstd the library's default.
 */
export function compressor(name: Compression, level: number): Compress | undefined {
  switch (name) {
    case "":
    case "none":
      return undefined;
    case "gzip":
      return bind(zlib.gzip, zlibOptions(level));
    // "deflate" is the zlib format in HTTP (RFC 9110, 8.4.1.2) and in the Collector.
    case "zlib":
    case "deflate":
      return bind(zlib.deflate, zlibOptions(level));
    case "zstd":
      if (zstd) return bind(zstd, level > 0 ? { params: { [ZSTD_COMPRESSION_LEVEL]: level } } : {});
      break;
    case "snappy":
      return async (bytes) => snappyjs.compress(bytes);
    case "x-snappy-framed":
      return async (bytes) => snappyFrames(bytes);
    case "lz4":
  }
  throw new Error(compressionProblem(name));
}

/** zlib.constants.ZSTD_c_compressionLevel. */
const ZSTD_COMPRESSION_LEVEL = 100;

/** Spans take 2 % more bytes than at zlib's own 6, and a third of its time: docs/adr/017-gzip-level.md. */
const DEFAULT_LEVEL = 1;
/** The most memory for zlib's tables, and few trips to its thread: with 16 KiB a trip, as is Node's default, a third more time. */
const MEMORY_LEVEL = 9;
const MOST_CHUNK_BYTES = 256 * 1024;
const LEAST_CHUNK_BYTES = 4096;

function zlibOptions(level: number): zlib.ZlibOptions {
  if (level === -2) return { memLevel: MEMORY_LEVEL, strategy: zlib.constants.Z_HUFFMAN_ONLY };
  return { memLevel: MEMORY_LEVEL, level: level === 0 ? DEFAULT_LEVEL : level };
}

function bind(compress: typeof zlib.gzip, options: object): Compress {
  const run = promisify<zlib.InputType, object, Buffer>(compress);
  return (bytes) =>
    run(bytes, {
      ...options,
      chunkSize: Math.min(MOST_CHUNK_BYTES, Math.max(LEAST_CHUNK_BYTES, Math.ceil(bytes.length / 2))),
    });
}

/** What a chunk of snappy's framed format holds at most. */
const CHUNK_BYTES = 65_536;

/** snappy's framed format (framing_format.txt): a stream identifier, then chunks of type 0, each with its masked CRC-32C. */
function snappyFrames(bytes: Uint8Array): Buffer {
  const parts: Uint8Array[] = [Buffer.from([0xff, 6, 0, 0, ...Buffer.from("sNaPpY")])];
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    const chunk = bytes.subarray(at, at + CHUNK_BYTES);
    const compressed = snappyjs.compress(chunk);
    const crc = crc32c(chunk);
    const header = Buffer.alloc(8);
    header.writeUIntLE(compressed.length + 4, 1, 3);
    header.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0, 4);
    parts.push(header, compressed);
  }
  return Buffer.concat(parts);
}
