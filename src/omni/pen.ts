/** Coloured text in columns: what is measured and cut is always the plain text, colours go around it last. */
import { displayWidth, formatDuration, printable, type TextStyle, truncate, wrap } from "./text.ts";

/** A piece of a line. `text` is printable (`Pen.safe`), `sgr` an ANSI colour or weight. */
export interface Segment {
  readonly text: string;
  readonly sgr?: Sgr | undefined;
}

/** Codes of ANSI's Select Graphic Rendition. */
export type Sgr = 1 | 2 | 31 | 32 | 33 | 34 | 35 | 36;
export const BOLD: Sgr = 1;
export const DIM: Sgr = 2;
export const RED: Sgr = 31;
export const GREEN: Sgr = 32;
export const YELLOW: Sgr = 33;
export const BLUE: Sgr = 34;
export const MAGENTA: Sgr = 35;
export const CYAN: Sgr = 36;

/** What lines and bars are drawn with. */
export interface Glyphs {
  readonly ellipsis: string;
  readonly separator: string;
  readonly branch: string;
  readonly lastBranch: string;
  readonly stem: string;
  readonly bar: string;
  /** Shorter than half a column. */
  readonly thin: string;
  /** Before and after what the bars show. */
  readonly before: string;
  readonly after: string;
}

const UNICODE: Glyphs = {
  ellipsis: "…",
  separator: " · ",
  branch: "├─ ",
  lastBranch: "└─ ",
  stem: "│  ",
  bar: "█",
  thin: "▏",
  before: "◂",
  after: "▸",
};

const ASCII: Glyphs = {
  ellipsis: "..",
  separator: " | ",
  branch: "|- ",
  lastBranch: "`- ",
  stem: "|  ",
  bar: "#",
  thin: "|",
  before: "<",
  after: ">",
};

/** Writes segments in one style. */
export class Pen {
  readonly glyphs: Glyphs;
  readonly #style: TextStyle;
  readonly #colour: boolean;

  constructor(options: { readonly colour: boolean; readonly ascii: boolean }) {
    this.#style = { ascii: options.ascii };
    this.#colour = options.colour;
    this.glyphs = options.ascii ? ASCII : UNICODE;
  }

  /** Text from outside, made harmless. */
  safe(text: string): string {
    return printable(text, this.#style);
  }

  /** Outside text in at most `columns` columns. Reads a bounded part of it: a printable character has 8 code units a column at most. */
  short(text: string, columns: number): string {
    return truncate(this.safe(text.slice(0, columns * 8 + 8)), columns, this.#style);
  }

  /** Printable text in lines of at most `columns` columns, no more than `most`. */
  wrap(text: string, columns: number, most: number): string[] {
    return wrap(text, columns, most, this.#style);
  }

  duration(ns: bigint | number): string {
    return formatDuration(ns, this.#style);
  }

  /** Columns that the segments take uncut. */
  widthOf(segments: readonly Segment[]): number {
    return displayWidth(plainOf(segments));
  }

  /** The segments in at most `columns` columns. */
  line(segments: readonly Segment[], columns: number): string {
    return this.#cut(segments, columns).painted;
  }

  /** The segments in exactly `columns` columns. */
  column(segments: readonly Segment[], columns: number): string {
    const { painted, width } = this.#cut(segments, columns);
    return painted + " ".repeat(columns - width);
  }

  #cut(segments: readonly Segment[], columns: number): { painted: string; width: number } {
    const cut = truncate(plainOf(segments), columns, this.#style);
    let painted = "";
    let at = 0;
    segments.forEach((segment, index) => {
      // The ellipsis belongs to whatever it stands in; the last segment takes what is left.
      const end = index === segments.length - 1 ? cut.length : at + segment.text.length;
      painted += this.#paint(cut.slice(at, end), segment.sgr);
      at += segment.text.length;
    });
    return { painted, width: displayWidth(cut) };
  }

  #paint(text: string, sgr: Sgr | undefined): string {
    return this.#colour && sgr !== undefined && text !== "" ? `\u001b[${sgr}m${text}\u001b[0m` : text;
  }
}

function plainOf(segments: readonly Segment[]): string {
  return segments.map((segment) => segment.text).join("");
}
