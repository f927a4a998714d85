/** Snappy: the block format (google/snappy format_description.txt) and the framed one (framing_format.txt). */
import { crc32c } from "./checksums.ts";
import { CorruptError, TooLargeError } from "./errors.ts";
import type { Decoder, Output } from "./output.ts";

/** A framed stream begins with a stream identifier chunk: type 0xff, length 6, "sNaPpY". */
const STREAM_IDENTIFIER = Uint8Array.of(0xff, 6, 0, 0, 0x73, 0x4e, 0x61, 0x50, 0x70, 0x59);
/** Most bytes a chunk of the framed format holds decoded. */
const CHUNK_BYTES = 65_536;
/** Decoded bytes between two steps of a large block. */
const STEP_BYTES = 256 * 1024;

/** True when the bytes begin as the framed format does. */
export function isSnappyFramed(input: Uint8Array): boolean {
  return input.length >= STREAM_IDENTIFIER.length && STREAM_IDENTIFIER.every((byte, at) => input[at] === byte);
}

/** The block format: the decoded length as a varint, then literals and copies. */
export const snappyBlock: Decoder = function* (input, output) {
  yield* block(input, 0, input.length, output);
};

/** The framed format: chunks of at most 64 KiB, each with the masked CRC-32C of what it holds. No bytes at all are an empty stream. */
export const snappyFramed: Decoder = function* (input, output) {
  if (input.length > 0 && !isSnappyFramed(input)) throw new CorruptError("snappy: corrupt input");
  let at = 0;
  while (at < input.length) {
    if (at + 4 > input.length) throw new CorruptError("unexpected EOF");
    const type = input[at] as number;
    const from = at + 4;
    const to =
      from + ((input[at + 1] as number) | ((input[at + 2] as number) << 8) | ((input[at + 3] as number) << 16));
    if (to > input.length) throw new CorruptError("unexpected EOF");
    if (type < 2) {
      if (to - from < 4) throw new CorruptError("snappy: corrupt input");
      const start = output.length;
      if (type === 0) yield* block(input, from + 4, to, output, CHUNK_BYTES);
      else if (to - from - 4 > CHUNK_BYTES) throw new CorruptError("snappy: corrupt input");
      else output.append(input, from + 4, to);
      verify(input, from, output, start);
      yield;
    } else if (type === 0xff) {
      if (!isSnappyFramed(input.subarray(at, to))) throw new CorruptError("snappy: corrupt input");
    } else if (type < 0x80) throw new CorruptError("snappy: unsupported input");
    at = to;
  }
};

/** The CRC is stored rotated right by 15 with 0xa282ead8 added, so that a CRC of data with CRCs in it is still one. */
function verify(input: Uint8Array, at: number, output: Output, start: number): void {
  const stored =
    ((input[at] as number) |
      ((input[at + 1] as number) << 8) |
      ((input[at + 2] as number) << 16) |
      ((input[at + 3] as number) << 24)) >>>
    0;
  const crc = crc32c(output.bytes, start, output.length);
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  if (stored !== masked) throw new CorruptError("snappy: corrupt input: checksum mismatch");
}

function* block(
  input: Uint8Array,
  from: number,
  to: number,
  output: Output,
  most = Number.POSITIVE_INFINITY,
): Generator<void, void, void> {
  let at = from;
  let size = 0;
  for (let scale = 1; ; scale *= 128) {
    if (at >= to || at - from >= 5) throw new CorruptError("snappy: corrupt input");
    const byte = input[at++] as number;
    size += (byte & 127) * scale;
    if (byte < 128) break;
  }
  if (size > output.limit - output.length) throw new TooLargeError(output.limit);
  // 64 bytes from three is the most a copy gives; what claims more is not worth the memory.
  if (size > most || size > (to - at) * 64) throw new CorruptError("snappy: corrupt input");
  output.reserve(size);
  const start = output.length;
  const end = start + size;
  let step = start + STEP_BYTES;
  while (at < to) {
    const tag = input[at++] as number;
    let length = (tag >> 2) + 1;
    let offset: number;
    switch (tag & 3) {
      case 0: {
        if (length > 60) {
          const extra = length - 60;
          if (at + extra > to) throw new CorruptError("snappy: corrupt input");
          length = little(input, at, extra) + 1;
          at += extra;
        }
        if (length > to - at || length > end - output.length) throw new CorruptError("snappy: corrupt input");
        output.append(input, at, at + length);
        at += length;
        continue;
      }
      case 1:
        if (at + 1 > to) throw new CorruptError("snappy: corrupt input");
        length = ((tag >> 2) & 7) + 4;
        offset = ((tag >> 5) << 8) | (input[at] as number);
        at += 1;
        break;
      case 2:
        if (at + 2 > to) throw new CorruptError("snappy: corrupt input");
        offset = little(input, at, 2);
        at += 2;
        break;
      default:
        if (at + 4 > to) throw new CorruptError("snappy: corrupt input");
        offset = little(input, at, 4);
        at += 4;
    }
    if (length > end - output.length) throw new CorruptError("snappy: corrupt input");
    output.repeat(offset, length, start);
    if (output.length >= step) {
      step = output.length + STEP_BYTES;
      yield;
    }
  }
  if (output.length !== end) throw new CorruptError("snappy: corrupt input");
}

/** An unsigned little-endian integer of `count` bytes. */
function little(input: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let byte = count - 1; byte >= 0; byte--) value = value * 256 + (input[at + byte] as number);
  return value;
}
