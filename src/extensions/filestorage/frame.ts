/**
 * The bytes of the files, pure: how records are framed, and how they are found again in a file that a crash or a bad
 * disk has damaged. All numbers are little-endian.
 *
 * ```
 * header, 16 bytes:   "OMNISHIM" | u8 format | 3 zero bytes | u32 crc of the 12 before
 * record, 20 + size:  u32 marker | u32 payload crc | u32 size | u32 tag | u32 head crc | payload
 * done file, 8 each:  u32 position of a record | u32 crc
 * ```
 * Every crc but the header's begins with the file's salt, a random number that stands in its name: bytes of another file,
 * or a payload that imitates a record, are never taken for one. The head has a crc of its own, so that a search through
 * a damaged file costs one pass whatever the payloads hold. CRC-32 is zlib's.
 */
import { crc32 } from "node:zlib";

/** Written into every file; another number is another format, which this program refuses instead of guessing. */
export const FORMAT = 1;
export const HEADER_BYTES = 16;
export const FRAME_BYTES = 20;
const DONE_BYTES = 8;

const MAGIC = Buffer.from("OMNISHIM", "latin1");
/** Begins every record; not valid UTF-8 and not likely in protobuf, so that a search for it finds few others. */
const MARKER = Buffer.from([0xf5, 0x0d, 0x4c, 0xfb]);

/** Where a record stands in its file. */
export interface Frame {
  /** First byte of the frame. */
  readonly at: number;
  readonly size: number;
  readonly tag: number;
}

/** What a file begins with. */
export function encodeHeader(): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(bytes, 0);
  bytes.writeUInt8(FORMAT, 8);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 12)), 12);
  return bytes;
}

/** The format of a file; undefined when its header is damaged or cut. */
export function decodeHeader(bytes: Buffer): number | undefined {
  if (bytes.length < HEADER_BYTES || !bytes.subarray(0, 8).equals(MAGIC)) return undefined;
  return bytes.readUInt32LE(12) === crc32(bytes.subarray(0, 12)) ? bytes.readUInt8(8) : undefined;
}

/** What stands in front of a payload that is given in parts. */
export function encodeFrame(salt: number, parts: readonly Uint8Array[], tag: number): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_BYTES);
  MARKER.copy(frame, 0);
  let size = 0;
  let crc = salt;
  for (const part of parts) {
    size += part.length;
    crc = crc32(part, crc);
  }
  frame.writeUInt32LE(crc, 4);
  frame.writeUInt32LE(size, 8);
  frame.writeUInt32LE(tag, 12);
  frame.writeUInt32LE(crc32(frame.subarray(4, 16), salt), 16);
  return frame;
}

/** The payload's size of the record whose undamaged head is at `at`; the payload may be damaged or cut. */
export function readHead(bytes: Buffer, at: number, salt: number): number | undefined {
  if (at + FRAME_BYTES > bytes.length || bytes.compare(MARKER, 0, 4, at, at + 4) !== 0) return undefined;
  const isGood = crc32(bytes.subarray(at + 4, at + 16), salt) === bytes.readUInt32LE(at + 16);
  return isGood ? bytes.readUInt32LE(at + 8) : undefined;
}

/** The record that begins at `at`, whole and undamaged; else undefined. */
export function readFrame(bytes: Buffer, at: number, salt: number): Frame | undefined {
  const from = at + FRAME_BYTES;
  const size = readHead(bytes, at, salt);
  if (size === undefined || from + size > bytes.length) return undefined;
  if (crc32(bytes.subarray(from, from + size), salt) !== bytes.readUInt32LE(at + 4)) return undefined;
  return { at, size, tag: bytes.readUInt32LE(at + 12) };
}

/** What a file was found to hold. */
export interface Scan {
  readonly frames: readonly Frame[];
  /** Damaged stretches with good records behind them: [from, to). */
  readonly damaged: readonly (readonly [from: number, to: number])[];
  /** Where the last good record ends. What follows was being written when the process or the machine stopped, or is damaged. */
  readonly end: number;
}

/** Finds all records of a file, in order. Damage costs the records that it touches and no others. */
export function scanFrames(bytes: Buffer, from: number, salt: number): Scan {
  const frames: Frame[] = [];
  const damaged: [number, number][] = [];
  let end = from;
  let at = from;
  while (at < bytes.length) {
    const frame = readFrame(bytes, at, salt);
    if (frame) {
      if (at > end) damaged.push([end, at]);
      frames.push(frame);
      at += FRAME_BYTES + frame.size;
      end = at;
    } else {
      at = bytes.indexOf(MARKER, at + 1);
      if (at < 0) break;
    }
  }
  return { frames, damaged, end };
}

/** Entries of a done file: the records at these positions of the segment are needed no more. */
export function encodeDone(salt: number, positions: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(positions.length * DONE_BYTES);
  positions.forEach((position, index) => {
    const at = index * DONE_BYTES;
    bytes.writeUInt32LE(position, at);
    bytes.writeUInt32LE(crc32(bytes.subarray(at, at + 4), salt), at + 4);
  });
  return bytes;
}

/** The positions in a done file; entries that are damaged or cut are left out, so that their records come again. */
export function decodeDone(salt: number, bytes: Buffer): number[] {
  const positions: number[] = [];
  for (let at = 0; at + DONE_BYTES <= bytes.length; at += DONE_BYTES)
    if (crc32(bytes.subarray(at, at + 4), salt) === bytes.readUInt32LE(at + 4)) positions.push(bytes.readUInt32LE(at));
  return positions;
}
