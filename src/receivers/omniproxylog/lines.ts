/**
 * Cuts bytes into lines. Pure and without memory: what is left over is not kept but read again, so the lines depend
 * on the file's bytes alone and never on how they came in pieces.
 */

/** Bounds of one batch. */
export interface LineLimits {
  /** `max_log_size`: a longer line is cut into pieces of this many bytes, as filelog does. */
  readonly lineBytes: number;
  /** `max_batch_lines` */
  readonly lines: number;
}

/** Lines found in a buffer. */
export interface Lines {
  /** Start and end of line i are at 2i and 2i+1; the line feed is left out. */
  readonly bounds: readonly number[];
  readonly count: number;
  /** Where the first byte stands that belongs to none of them. */
  readonly next: number;
}

const LINE_FEED = 10;

/**
 * The whole lines of `bytes` from `from` on, an unfinished last one left out. `from` is the start of a line, or of
 * what is left of one that was cut. Where no line feed comes within `lineBytes` bytes, a piece of `lineBytes` is a line.
 */
export function cutLines(bytes: Buffer, from: number, limits: LineLimits): Lines {
  const bounds: number[] = [];
  let start = from;
  let feed = indexOfFeed(bytes, start);
  while (bounds.length < limits.lines * 2) {
    if (feed - start > limits.lineBytes) {
      bounds.push(start, start + limits.lineBytes);
      start += limits.lineBytes;
    } else if (feed < bytes.length) {
      bounds.push(start, feed);
      start = feed + 1;
      feed = indexOfFeed(bytes, start);
    } else break;
  }
  return { bounds, count: bounds.length / 2, next: start };
}

/** The next line feed, or the end where there is none. */
function indexOfFeed(bytes: Buffer, from: number): number {
  const at = bytes.indexOf(LINE_FEED, from);
  return at < 0 ? bytes.length : at;
}

/** Like `cutLines`, for the end of a file that nobody writes any more: an unfinished last line counts too. */
export function cutLastLines(bytes: Buffer, from: number, limits: LineLimits): Lines {
  const lines = cutLines(bytes, from, limits);
  if (lines.next === bytes.length || lines.count >= limits.lines) return lines;
  return { bounds: [...lines.bounds, lines.next, bytes.length], count: lines.count + 1, next: bytes.length };
}
