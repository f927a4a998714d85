/**
 * Zstandard frames (RFC 8878). Written for this program because fzstd, the one decoder for JavaScript that is not
 * WebAssembly, takes memory for whatever window a frame header asks for and does not stop copying where a block must
 * end (docs/adr/007). Here history is the output itself, which is bounded, and no block gives more than 128 KiB.
 * Content checksums are stepped over; dictionaries are refused.
 */
import { CorruptError, TooLargeError } from "./errors.ts";
import type { Decoder, Output } from "./output.ts";
import { BLOCK_BYTES, type FrameState, little } from "./zstd-block.ts";
import { readLiterals } from "./zstd-literals.ts";
import { decodeSequences } from "./zstd-sequences.ts";

const MAGIC = 0xfd2fb528;
/** Skippable frames have the magic numbers 0x184D2A50 to 0x184D2A5F. */
const SKIPPABLE = 0x184d2a5;
/** Frames one after the other; no bytes at all are an empty stream. */
export const zstdFrames: Decoder = function* (input, output) {
  let at = 0;
  while (at < input.length) {
    const magic = little(input, at, 4);
    if (magic >>> 4 === SKIPPABLE) {
      at += 8 + little(input, at + 4, 4);
      if (at > input.length) throw new CorruptError("unexpected EOF");
    } else if (magic === MAGIC) at = yield* frame(input, at + 4, output);
    else throw new CorruptError("zstd: invalid input: magic number mismatch");
  }
};

/** @returns where the frame ends. */
function* frame(input: Uint8Array, from: number, output: Output): Generator<void, number, void> {
  const descriptor = little(input, from, 1);
  if (descriptor & 8) throw new CorruptError("zstd: corrupt input: a reserved bit is set");
  const singleSegment = (descriptor & 32) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number;
  const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
  let at = from + 1 + (singleSegment ? 0 : 1);
  if (little(input, at, dictionaryBytes) !== 0) throw new CorruptError("zstd: dictionaries are not supported");
  at += dictionaryBytes;
  const declared = sizeBytes === 0 ? undefined : little(input, at, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
  at += sizeBytes;
  if (declared !== undefined) {
    if (declared > output.limit - output.length) throw new TooLargeError(output.limit);
    // Telemetry seldom shrinks to less than a sixteenth; what claims more grows step by step.
    output.reserve(Math.min(declared, (input.length - at) * 16));
  }

  const state: FrameState = {
    start: output.length,
    huffman: undefined,
    literalLengths: undefined,
    offsets: undefined,
    matchLengths: undefined,
    recent: [1, 4, 8],
  };
  for (let last = false; !last; ) {
    const header = little(input, at, 3);
    at += 3;
    last = (header & 1) === 1;
    const type = (header >> 1) & 3;
    const size = header >> 3;
    if (size > BLOCK_BYTES || type === 3) throw new CorruptError("zstd: corrupt input: invalid block");
    const end = at + (type === 1 ? 1 : size);
    if (end > input.length) throw new CorruptError("unexpected EOF");
    if (type === 0) output.append(input, at, end);
    else if (type === 1) output.fill(input[at] as number, size);
    else decodeBlock(input, at, end, output, state);
    at = end;
    yield;
  }
  if (declared !== undefined && declared !== output.length - state.start)
    throw new CorruptError("zstd: corrupt input: the content is not as long as its frame says");
  if (descriptor & 4) {
    at += 4;
    if (at > input.length) throw new CorruptError("unexpected EOF");
  }
  return at;
}

function decodeBlock(input: Uint8Array, from: number, to: number, output: Output, state: FrameState): void {
  const section = readLiterals(input, from, to, state);
  decodeSequences(input, to, output, state, section);
}
