/** Text for terminals: values from the network are made harmless and cut to columns; durations are made readable. */

/** What the text may hold. `ascii`: nothing above U+007E leaves, "us" stands for "µs". */
export interface TextStyle {
  readonly ascii: boolean;
}

/** Controls (C0, C1, DEL), format characters (bidi overrides, zero-width), line and paragraph separators, halves of pairs. */
const HARMFUL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** A heap of marks on one character climbs over the lines above; no script needs more than three. */
const MARK_HEAP = /(\p{M}{3})\p{M}+/gu;
const HARMFUL_OR_NOT_ASCII = /[^ -~]/gu;

function escaped(character: string): string {
  const code = character.codePointAt(0) as number;
  if (code <= 0xff) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${code.toString(16).padStart(4, "0")}` : `\\u{${code.toString(16)}}`;
}

/**
 * `text` without anything a terminal acts on: names, ids and messages come from whoever can send a span or a request,
 * and an escape sequence among them could rewrite the screen. ESC becomes the four characters `\x1b`.
 */
export function printable(text: string, style: TextStyle = { ascii: false }): string {
  return style.ascii
    ? text.replace(HARMFUL_OR_NOT_ASCII, escaped)
    : text.replace(HARMFUL, escaped).replace(MARK_HEAP, "$1…");
}

/** Marks that take no column of their own. */
const COMBINING = /^\p{M}$/u;
/** East Asian Width W and F, and emoji: the blocks that terminals draw two columns wide. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]$/u;

function characterWidth(character: string): number {
  if (character >= " " && character <= "~") return 1;
  if (COMBINING.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}

/** Terminal columns that `text`, which is printable, takes. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

/** `text` in exactly `columns` columns: padded on the right, or cut with an ellipsis. */
export function pad(text: string, columns: number, style: TextStyle = { ascii: false }): string {
  const cut = truncate(text, columns, style);
  return cut + " ".repeat(Math.max(0, columns - displayWidth(cut)));
}

/** `text` in at most `columns` columns; what is cut ends in an ellipsis. Reads no more of `text` than it shows. */
export function truncate(text: string, columns: number, style: TextStyle = { ascii: false }): string {
  if (beginning(text, columns).length === text.length) return text;
  const ellipsis = style.ascii ? ".." : "…";
  const room = columns - ellipsis.length;
  return room < 0 ? ellipsis.slice(0, Math.max(0, columns)) : beginning(text, room) + ellipsis;
}

/** The most of `text` from its start that takes at most `columns` columns. */
function beginning(text: string, columns: number): string {
  let width = 0;
  let end = 0;
  for (const character of text) {
    width += characterWidth(character);
    if (width > columns) return text.slice(0, end);
    end += character.length;
  }
  return text;
}

/** `text`, which is printable, broken at blanks into lines of at most `columns`; what is left after `most` lines is cut. */
export function wrap(text: string, columns: number, most: number, style: TextStyle = { ascii: false }): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest !== "" && lines.length < most - 1 && displayWidth(rest) > columns) {
    const line = beginning(rest, columns);
    const blank = rest[line.length] === " " ? line.length : line.lastIndexOf(" ");
    const end = blank > 0 ? blank : line.length;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return rest === "" ? lines : [...lines, truncate(rest, columns, style)];
}

const UNITS: readonly (readonly [ns: number, name: string, asciiName: string])[] = [
  [1e9, "s", "s"],
  [1e6, "ms", "ms"],
  [1e3, "µs", "us"],
];

/** Nanoseconds for people, three digits at most: "0 s", "250 ns", "31.6 µs", "1.24 ms", "354 ms", "24.9 s", "3 min 5 s", "2 h 10 min". */
export function formatDuration(ns: bigint | number, style: TextStyle = { ascii: false }): string {
  const value = Number(ns);
  if (!Number.isFinite(value)) return "?";
  if (value < 0) return `-${formatDuration(-value, style)}`;
  if (value === 0) return "0 s";
  const seconds = Math.round(value / 1e9);
  const minutes = Math.round(value / 60e9);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  if (seconds >= 100) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  // 999.5 µs would print as "1000 µs": it belongs to the next unit.
  for (const [size, name, asciiName] of UNITS)
    if (value >= size * 0.9995) return `${threeDigits(value / size)} ${style.ascii ? asciiName : name}`;
  return `${Math.round(value)} ns`;
}

/** 1.24, 31.6, 354: what is left of three digits without the zeros at the end. */
function threeDigits(value: number): string {
  return String(Number(value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)));
}
