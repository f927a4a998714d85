/** LZ4 frames (lz4_Frame_format.md 1.6.4) of LZ4 blocks (lz4_Block_format.md). Dictionaries and the legacy format are refused. */
import { xxh32 } from "./checksums.ts";
import { CorruptError } from "./errors.ts";
import type { Decoder, Output } from "./output.ts";

const MAGIC = 0x184d2204;
/** Skippable frames have the magic numbers 0x184D2A50 to 0x184D2A5F. */
const SKIPPABLE = 0x184d2a5;
/** Block-size codes 4 to 7 of the frame header. */
const BLOCK_BYTES = [65_536, 262_144, 1_048_576, 4_194_304] as const;
/** How far back a match of a linked block may reach. */
const HISTORY = 65_535;

/** Frames one after the other; no bytes at all are an empty stream. Every checksum that is there is verified. */
export const lz4Frames: Decoder = function* (input, output) {
  let at = 0;
  while (at < input.length) {
    const magic = word(input, at);
    if (magic >>> 4 === SKIPPABLE) {
      at += 8 + word(input, at + 4);
      if (at > input.length) throw new CorruptError("unexpected EOF");
    } else if (magic === MAGIC) at = yield* oneFrame(input, at + 4, output);
    else throw new CorruptError("lz4: bad magic number");
  }
};

/** @returns where the frame ends. */
function* oneFrame(input: Uint8Array, from: number, output: Output): Generator<void, number, void> {
  const frameStart = output.length;
  const [flags = 0, descriptor = 0] = input.subarray(from, from + 2);
  if (flags >> 6 !== 1) throw new CorruptError("lz4: unsupported frame version");
  if (flags & 1) throw new CorruptError("lz4: dictionaries are not supported");
  if ((flags & 2) !== 0 || (descriptor & 0x8f) !== 0) throw new CorruptError("lz4: reserved bits are set");
  const independent = (flags & 0x20) !== 0;
  const blockChecksums = (flags & 0x10) !== 0;
  const contentSize = (flags & 8) !== 0 ? word(input, from + 2) + word(input, from + 6) * 2 ** 32 : undefined;
  const contentChecksum = (flags & 4) !== 0;
  const blockBytes = BLOCK_BYTES[(descriptor >> 4) - 4];
  if (blockBytes === undefined) throw new CorruptError("lz4: invalid block size");
  let at = from + 2 + (contentSize === undefined ? 0 : 8);
  if (at >= input.length) throw new CorruptError("unexpected EOF");
  if (((xxh32(input, from, at) >>> 8) & 255) !== input[at++]) throw new CorruptError("lz4: invalid header checksum");

  for (;;) {
    const header = word(input, at);
    at += 4;
    if (header === 0) break;
    const size = header & 0x7fffffff;
    const end = at + size;
    if (size > blockBytes) throw new CorruptError("lz4: a block is larger than the frame allows");
    if (end + (blockChecksums ? 4 : 0) > input.length) throw new CorruptError("unexpected EOF");
    if (blockChecksums && xxh32(input, at, end) !== word(input, end))
      throw new CorruptError("lz4: invalid block checksum");
    if (header >>> 31) output.append(input, at, end);
    else decodeBlock(input, at, end, output, blockBytes, independent ? output.length : frameStart);
    at = end + (blockChecksums ? 4 : 0);
    yield;
  }
  if (contentChecksum) {
    if (xxh32(output.bytes, frameStart, output.length) !== word(input, at))
      throw new CorruptError("lz4: invalid content checksum");
    at += 4;
  }
  if (contentSize !== undefined && contentSize !== output.length - frameStart)
    throw new CorruptError("lz4: the content is not as long as its frame says");
  return at;
}

/** Sequences: token (literal length, match length), more literal length, literals, offset, more match length. The last has literals only. */
function decodeBlock(
  input: Uint8Array,
  from: number,
  to: number,
  output: Output,
  blockBytes: number,
  frameStart: number,
): void {
  const start = output.length;
  const oldest = Math.max(frameStart, start - HISTORY);
  let at = from;
  while (at < to) {
    const token = input[at++] as number;
    let literals = token >> 4;
    if (literals === 15) {
      let more: number;
      do {
        if (at >= to) throw new CorruptError("lz4: corrupt block");
        more = input[at++] as number;
        literals += more;
      } while (more === 255);
    }
    if (literals > to - at || output.length - start + literals > blockBytes)
      throw new CorruptError("lz4: corrupt block");
    output.append(input, at, at + literals);
    at += literals;
    if (at === to) return;
    if (at + 2 > to) throw new CorruptError("lz4: corrupt block");
    const offset = (input[at] as number) | ((input[at + 1] as number) << 8);
    at += 2;
    let length = (token & 15) + 4;
    if (length === 19) {
      let more: number;
      do {
        if (at >= to) throw new CorruptError("lz4: corrupt block");
        more = input[at++] as number;
        length += more;
      } while (more === 255);
    }
    if (output.length - start + length > blockBytes) throw new CorruptError("lz4: corrupt block");
    output.reserve(length);
    output.repeat(offset, length, oldest);
  }
  throw new CorruptError("lz4: corrupt block");
}

/** An unsigned little-endian 32-bit integer. @throws CorruptError behind the end. */
function word(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) throw new CorruptError("unexpected EOF");
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}
