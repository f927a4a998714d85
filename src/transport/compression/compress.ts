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
 * -1 and 0 are the library's default, -2 is Huffman only.
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

function zlibOptions(level: number): zlib.ZlibOptions {
  if (level === -2) return { strategy: zlib.constants.Z_HUFFMAN_ONLY };
  return level > 0 ? { level } : {};
}

function bind(compress: typeof zlib.gzip, options: object): Compress {
  const run = promisify<zlib.InputType, object, Buffer>(compress);
  return (bytes) => run(bytes, options);
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
