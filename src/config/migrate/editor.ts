/**
 * Changes to a YAML text that leave everything else - comments, quotes, blank lines, order - as it was. The tree of
 * config/node.ts says where things are; each change is a piece of text for another.
 */
import { stringify } from "yaml";
import type { ConfigNode, MapEntry, MapNode, Source } from "../node.ts";

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** What can be written as a value. */
export type PlainValue =
  | string
  | number
  | boolean
  | null
  | readonly PlainValue[]
  | { readonly [key: string]: PlainValue };

export class Editor {
  readonly #text: string;
  /** By place, so that an anchor that several aliases share is changed once. */
  readonly #edits = new Map<string, Edit>();
  readonly #step: number;
  readonly #newline: string;

  constructor(source: Source) {
    this.#text = source.text;
    this.#step = indentationOf(source.text);
    this.#newline = source.text.includes("\r\n") ? "\r\n" : "\n";
  }

  /** The text with every change; a change inside of a text that goes as a whole is dropped. */
  get text(): string {
    const isInsertion = ({ start, end }: Edit): number => (start === end ? 0 : 1);
    const edits = [...this.#edits.values()].sort(
      (a, b) => a.start - b.start || isInsertion(a) - isInsertion(b) || b.end - a.end,
    );
    let out = "";
    let at = 0;
    for (const { start, end, text } of edits) {
      if (start < at) continue;
      out += this.#text.slice(at, start) + text;
      at = end;
    }
    return out + this.#text.slice(at);
  }

  /** Writes a scalar for what is there now. */
  setScalar({ at }: ConfigNode, value: string | number | boolean): void {
    this.#replace(at.start, at.end, inline(value));
  }

  /** Writes other text for a scalar, in the quotes that it has. */
  setText({ at }: ConfigNode, from: string | RegExp, to: string | ((...found: string[]) => string)): void {
    const before = this.#text.slice(at.start, at.end);
    this.#replace(at.start, at.end, typeof to === "string" ? before.replace(from, () => to) : before.replace(from, to));
  }

  /** Gives an entry another key. */
  renameKey({ key }: MapEntry, name: string): void {
    this.#replace(key.start, key.end, inline(name));
  }

  /** Takes an entry out, with the comment on its lines. */
  removeEntry(entry: MapEntry): void {
    this.#remove(entry.key.start, endOf(entry.node, entry.key.end));
  }

  /** Takes an item out of a list. */
  removeItem(item: ConfigNode): void {
    this.#remove(item.at.start, item.at.end);
  }

  /** Writes an entry for another one. */
  replaceEntry(entry: MapEntry, name: string, value: PlainValue): void {
    const { start } = entry.key;
    const end = endOf(entry.node, entry.key.end);
    this.#replace(
      start,
      end,
      this.#isFlow(start) ? inlineEntry(name, value) : this.#block(name, value, this.#column(start)).trimStart(),
    );
  }

  /** Adds an entry to a map, in front of its others; or to a key without a value. @param under the entry whose value it is */
  addEntry(under: MapEntry, name: string, value: PlainValue): void {
    const { node, key } = under;
    const isMap = node.kind === "map";
    const first = isMap ? [...node.entries.values()][0] : undefined;
    if (isMap && this.#text[node.at.start] === "{") {
      this.#replace(node.at.start + 1, node.at.start + 1, inlineEntry(name, value) + (first ? ", " : ""));
    } else if (first) {
      const column = this.#column(first.key.start);
      const at = first.key.start;
      this.#replace(at, at, `${this.#block(name, value, column).trimStart()}${this.#newline}${" ".repeat(column)}`);
    } else if (this.#isFlow(key.start)) {
      const colon = this.#text.indexOf(":", key.end) + 1;
      const end = Math.max(colon, node.at.end);
      this.#replace(colon, end, ` {${inlineEntry(name, value)}}`);
    } else {
      const colon = this.#text.indexOf(":", key.end) + 1;
      // `key: ~` and `key: null` say nothing either.
      if (node.at.end > node.at.start) this.#replace(colon, node.at.end, "");
      const end = this.#lineEnd(key.end);
      const lineEnd = this.#text[end - 1] === "\r" ? end - 1 : end;
      this.#replace(
        lineEnd,
        lineEnd,
        `${this.#newline}${this.#block(name, value, this.#column(key.start) + this.#step)}`,
      );
    }
  }

  #replace(start: number, end: number, text: string): void {
    const key = `${start}:${end}`;
    const before = this.#edits.get(key);
    // Two insertions at one place stand side by side, in the order in which they were asked for.
    const isInsertion = start === end && before !== undefined && before.text !== text;
    this.#edits.set(key, { start, end, text: isInsertion ? before.text + text : text });
  }

  #remove(start: number, end: number): void {
    if (this.#isFlow(start)) {
      const after = /^\s*,\s*/.exec(this.#text.slice(end));
      const before = after ? null : /,\s*$/.exec(this.#text.slice(0, start));
      this.#replace(start - (before?.[0].length ?? 0), end + (after?.[0].length ?? 0), "");
      return;
    }
    // In block style an entry, and an item with its dash, has its lines for itself.
    this.#replace(this.#text.lastIndexOf("\n", start - 1) + 1, this.#nextLine(end), "");
  }

  #nextLine(at: number): number {
    return Math.min(this.#text.length, this.#lineEnd(at) + 1);
  }

  #lineEnd(at: number): number {
    const found = this.#text.indexOf("\n", at);
    return found < 0 ? this.#text.length : found;
  }

  #column(at: number): number {
    return at - (this.#text.lastIndexOf("\n", at - 1) + 1);
  }

  #block(name: string, value: PlainValue, column: number): string {
    const lines = stringify({ [name]: value }, { indent: this.#step, lineWidth: 0 })
      .trimEnd()
      .split("\n");
    return lines.map((line) => " ".repeat(column) + line).join(this.#newline);
  }

  /** Whether a place is inside of `{…}` or `[…]`. */
  #isFlow(at: number): boolean {
    let depth = 0;
    let quote = "";
    for (let i = this.#blockStart(at); i < at; i++) {
      const char = this.#text[i] as string;
      if (quote !== "") {
        if (char === quote) quote = "";
      } else if (char === "#" && /\s/.test(this.#text[i - 1] ?? " ")) i = this.#lineEnd(i);
      else if ((char === '"' || char === "'") && /[\s,[{:]/.test(this.#text[i - 1] ?? " ")) quote = char;
      else if (char === "$" && this.#text[i + 1] === "{") i = this.#text.indexOf("}", i);
      else if (char === "{" || char === "[") depth++;
      else if (char === "}" || char === "]") depth--;
    }
    return depth > 0;
  }

  /** The last line before `at` that begins at the left edge: nothing is open there. */
  #blockStart(at: number): number {
    let start = this.#text.lastIndexOf("\n", at - 1) + 1;
    while (start > 0 && !/^[A-Za-z_"']/.test(this.#text.slice(start, start + 1)))
      start = this.#text.lastIndexOf("\n", start - 2) + 1;
    return start;
  }
}

/** Where the last piece of a node is. */
function endOf(node: ConfigNode, otherwise: number): number {
  const { start, end, source } = node.at;
  if (node.kind === "scalar") return Math.max(end, otherwise);
  const opening = source.text[start];
  if (opening === "{" || opening === "[" || opening === "*") return Math.max(end, otherwise);
  const inner =
    node.kind === "list"
      ? node.items.map((item) => endOf(item, otherwise))
      : [...node.entries.values()].map((entry) => endOf(entry.node, entry.key.end));
  return Math.max(otherwise, ...inner.filter((at) => at >= otherwise));
}

function inline(value: PlainValue): string {
  return stringify(value, { collectionStyle: "flow", flowCollectionPadding: false, lineWidth: 0 }).trimEnd();
}

function inlineEntry(name: string, value: PlainValue): string {
  return inline({ [name]: value }).slice(1, -1);
}

/** Spaces of the first indented line; 2 where there is none. */
function indentationOf(text: string): number {
  return /^( +)[^\s#-]/m.exec(text)?.[1]?.length ?? 2;
}

/** The entries of a map; none for anything else. */
export function entriesOf(node: ConfigNode | undefined): [string, MapEntry][] {
  return node?.kind === "map" ? [...node.entries] : [];
}

/** The entry of a map with this key. */
export function entryOf(node: ConfigNode | undefined, name: string): MapEntry | undefined {
  return (node as MapNode | undefined)?.kind === "map" ? (node as MapNode).entries.get(name) : undefined;
}

/** The text of a scalar; "" for anything else. */
export function textOf(node: ConfigNode | undefined): string {
  return node?.kind === "scalar" && node.value !== null ? String(node.value) : "";
}
