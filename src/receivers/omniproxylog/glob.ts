/**
 * File name patterns, as the Collector's file receivers read them (github.com/bmatcuk/doublestar): `*` and `?` within
 * one path element, `**` as a whole element for any depth, `[a-z]`, `[!a-z]` or `[^a-z]`, `{one,two}`, and `\` before
 * a character that means itself. A leading dot is nothing special. Pure: walking the folders is scan.ts.
 */

/** One element of a path: a name, a pattern for a name, or `**`. */
export type GlobPart = string | RegExp | typeof ANY_DEPTH;

/** Any number of folders, none included. */
export const ANY_DEPTH = Symbol("**");

/** A pattern without braces. */
export interface Glob {
  /** The folder (or, without `parts`, the file) that every match starts with: absolute, no trailing slash. */
  readonly base: string;
  /** What follows below `base`; empty when the pattern is a plain path. */
  readonly parts: readonly GlobPart[];
}

/** How many patterns the braces of one pattern may stand for. */
const MOST_ALTERNATIVES = 256;

/**
 * Reads a pattern; a relative one starts at `folder`.
 * @returns one glob for each alternative of its braces, or a string that says what is wrong.
 */
export function parseGlob(pattern: string, folder: string): readonly Glob[] | string {
  if (pattern === "") return "the pattern is empty";
  const plain = expandBraces(pattern.startsWith("/") ? pattern : `${escapeGlob(folder)}/${pattern}`);
  if (typeof plain === "string") return plain;
  const globs: Glob[] = [];
  for (const alternative of plain) {
    const parts = parseParts(alternative);
    if (typeof parts === "string") return parts;
    const firstPattern = parts.findIndex((part) => typeof part !== "string");
    const names = firstPattern < 0 ? parts : parts.slice(0, firstPattern);
    globs.push({ base: `/${names.join("/")}`, parts: firstPattern < 0 ? [] : parts.slice(firstPattern) });
  }
  return globs;
}

/** Whether `path` (absolute) is one that the glob stands for. */
export function matchesGlob(glob: Glob, path: string): boolean {
  const under = glob.base === "/" ? "" : glob.base;
  if (glob.parts.length === 0) return path === glob.base;
  return path.startsWith(`${under}/`) && matchesParts(glob.parts, 0, path.slice(under.length + 1).split("/"), 0);
}

function matchesParts(parts: readonly GlobPart[], part: number, names: readonly string[], name: number): boolean {
  for (let at = part; at < parts.length; at++, name++) {
    const wanted = parts[at] as GlobPart;
    if (wanted === ANY_DEPTH) {
      for (let rest = name; rest <= names.length; rest++) if (matchesParts(parts, at + 1, names, rest)) return true;
      return false;
    }
    const found = names[name];
    if (found === undefined || !matchesPart(wanted, found)) return false;
  }
  return name === names.length;
}

/** Whether one element of a path is what `part` (not `**`) asks for. */
export function matchesPart(part: string | RegExp, name: string): boolean {
  return typeof part === "string" ? part === name : part.test(name);
}

/** `text` as a pattern that matches only itself. */
export function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]{}]/g, "\\$&");
}

/** Elements of a brace-free pattern; "." and empty ones are left out, ".." takes the name before it away. */
function parseParts(pattern: string): GlobPart[] | string {
  const parts: GlobPart[] = [];
  for (const element of pattern.split("/")) {
    if (element === "" || element === ".") continue;
    if (element === "..") {
      if (typeof (parts.at(-1) ?? "") !== "string") return `".." cannot follow a pattern in ${JSON.stringify(pattern)}`;
      parts.pop();
      continue;
    }
    const part = parseElement(element);
    if (part === undefined)
      return `the "[" or "\\" in ${JSON.stringify(element)} has no end, or a range in it runs backwards`;
    if (part !== ANY_DEPTH || parts.at(-1) !== ANY_DEPTH) parts.push(part);
  }
  return parts;
}

function parseElement(element: string): GlobPart | undefined {
  if (element === "**") return ANY_DEPTH;
  let literal = "";
  let source = "";
  let isPattern = false;
  for (let at = 0; at < element.length; at++) {
    const char = element[at] as string;
    if (char === "*" || char === "?") {
      isPattern = true;
      source += char === "*" ? ".*" : ".";
    } else if (char === "[") {
      const end = classEnd(element, at);
      if (end === undefined) return undefined;
      isPattern = true;
      source += classSource(element.slice(at + 1, end));
      at = end;
    } else {
      const itself = char === "\\" ? element[++at] : char;
      if (itself === undefined) return undefined;
      literal += itself;
      source += itself.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
    }
  }
  if (!isPattern) return literal;
  try {
    return new RegExp(`^${source}$`, "su");
  } catch {
    return undefined;
  }
}

/** Where the `]` of the class that opens at `at` stands; a `]` right behind the opening is one of its members. */
function classEnd(element: string, at: number): number | undefined {
  let from = at + 1;
  if (element[from] === "!" || element[from] === "^") from++;
  for (let end = from; end < element.length; end++) {
    if (element[end] === "\\") end++;
    else if (element[end] === "]" && end > from) return end;
  }
  return undefined;
}

function classSource(body: string): string {
  const negated = body.startsWith("!") || body.startsWith("^");
  let members = "";
  for (let at = negated ? 1 : 0; at < body.length; at++) {
    const escaped = body[at] === "\\";
    const char = (escaped ? body[++at] : body[at]) ?? "";
    members += char === "-" && !escaped ? "-" : char.replace(/[\\\]^[-]/, "\\$&");
  }
  return `[${negated ? "^" : ""}${members}]`;
}

/** "{a,b}c" -> ["ac", "bc"], innermost last. */
function expandBraces(pattern: string): readonly string[] | string {
  const done: string[] = [];
  const open = [pattern];
  while (open.length > 0) {
    const next = open.pop() as string;
    const brace = firstBrace(next);
    if (brace === undefined) done.push(next);
    else if (brace.end === undefined) return `the "{" in ${JSON.stringify(pattern)} has no end`;
    else
      for (const choice of brace.choices.toReversed())
        open.push(next.slice(0, brace.start) + choice + next.slice(brace.end + 1));
    if (done.length + open.length > MOST_ALTERNATIVES)
      return `${JSON.stringify(pattern)} stands for more than ${MOST_ALTERNATIVES} patterns`;
  }
  return done;
}

/** The first brace that is not escaped and not inside a class; `end` is undefined when it is never closed. */
function firstBrace(
  pattern: string,
): { readonly start: number; readonly end: number | undefined; readonly choices: readonly string[] } | undefined {
  let start = -1;
  let depth = 0;
  let from = 0;
  const choices: string[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at];
    if (char === "\\") at++;
    else if (char === "[" && depth === 0) at = classEnd(pattern, at) ?? at;
    else if (char === "{") {
      if (depth++ === 0) {
        start = at;
        from = at + 1;
      }
    } else if (depth > 0 && (char === "," || char === "}")) {
      if (depth === 1) {
        choices.push(pattern.slice(from, at));
        from = at + 1;
      }
      if (char === "}" && --depth === 0) return { start, end: at, choices };
    }
  }
  return start < 0 ? undefined : { start, end: undefined, choices };
}
