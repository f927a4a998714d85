/** `${env:X}`, `${file:…}`, `${yaml:…}`, `${X}` and `$$`, as the Collector's resolver does it (confmap/expand.go). */
import type { ConfigNode, MapEntry, Span } from "./node.ts";
import { parseLocation, type Retrieved, retrieve, SCHEMES, type Surroundings } from "./providers.ts";

/** A reference that cannot be expanded. */
export interface ExpansionIssue {
  readonly path: readonly string[];
  readonly at: Span;
  readonly message: string;
  readonly hint?: string;
}

/** Expansions that one text may need (the Collector's bound). */
const MAX_PASSES = 1000;
/** Expansions in one configuration. */
const MAX_EXPANSIONS = 20_000;
/** UTF-16 units that one value may grow to. */
const MAX_LENGTH = 1024 * 1024;

/**
 * The tree with every reference replaced. A reference that is the whole value keeps the type that its text has in
 * YAML, and the text itself as `original`; one inside a longer value is put in as text. Values that could not be
 * expanded are null and have an issue.
 */
export async function expandTree(
  root: ConfigNode,
  around: Surroundings,
): Promise<{ root: ConfigNode; issues: readonly ExpansionIssue[]; warnings: readonly string[] }> {
  const expander = new Expander(around);
  const expanded = await expander.expand(root, [], []);
  return { root: unescapeDollars(expanded), issues: expander.issues, warnings: [...expander.warnings] };
}

class Expander {
  readonly issues: ExpansionIssue[] = [];
  readonly warnings = new Set<string>();
  readonly #around: Surroundings;
  /** Each reference is read once, so that all its places see the same value. */
  readonly #known = new Map<string, Promise<Retrieved>>();
  #count = 0;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  /** @param chain the references that this node came out of, outermost first. */
  async expand(node: ConfigNode, path: readonly string[], chain: readonly string[]): Promise<ConfigNode> {
    if (node.kind === "list") {
      const items: ConfigNode[] = [];
      for (const [index, item] of node.items.entries())
        items.push(await this.expand(item, [...path, String(index)], chain));
      return { ...node, items };
    }
    if (node.kind === "map") {
      const entries = new Map<string, MapEntry>();
      for (const [name, entry] of node.entries)
        entries.set(name, { key: entry.key, node: await this.expand(entry.node, [...path, name], chain) });
      return { ...node, entries };
    }
    if (typeof node.value !== "string") return node;
    try {
      return await this.#expandString(node.value, node.at, path, chain);
    } catch (error) {
      if (!(error instanceof ExpansionError)) throw error;
      this.issues.push({
        path,
        at: node.at,
        message: error.message,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      });
      return { kind: "scalar", value: null, at: node.at };
    }
  }

  async #expandString(value: string, at: Span, path: readonly string[], chain: readonly string[]): Promise<ConfigNode> {
    this.#noteBareNames(value);
    let text = value;
    for (let passes = 1; ; passes++) {
      const reference = findReference(text);
      if (reference === undefined) return { kind: "scalar", value: text, at };
      if (passes > MAX_PASSES || chain.includes(reference)) throw new ExpansionError("too many recursive expansions");
      const got = await this.#retrieve(reference);
      if (reference !== text) text = inline(text, reference, got.text);
      else if (got.root.kind === "scalar" && typeof got.root.value === "string") text = got.root.value;
      else {
        const inFile = reference.startsWith("${file:") && got.root.kind !== "scalar";
        const node = await this.expand(inFile ? got.root : moveTo(got.root, at), path, [...chain, reference]);
        const original = await this.#expandText(got.text);
        return original === undefined ? node : { ...node, original };
      }
    }
  }

  /** The text form of a value that is not a string; undefined where the references in it have no text form. */
  async #expandText(value: string): Promise<string | undefined> {
    let text = value;
    for (let passes = 1; passes <= MAX_PASSES; passes++) {
      const reference = findReference(text);
      if (reference === undefined) return text;
      try {
        text = inline(text, reference, (await this.#retrieve(reference)).text);
      } catch (error) {
        if (error instanceof ExpansionError) return undefined;
        throw error;
      }
    }
    return undefined;
  }

  #retrieve(reference: string): Promise<Retrieved> {
    if (++this.#count > MAX_EXPANSIONS) throw new ExpansionError(`more than ${MAX_EXPANSIONS} expansions`);
    const known = this.#known.get(reference) ?? this.#read(reference);
    this.#known.set(reference, known);
    return known;
  }

  async #read(reference: string): Promise<Retrieved> {
    const inner = reference.slice(2, -1);
    const uri = inner.includes(":") ? inner : `env:${inner}`;
    const location = parseLocation(uri);
    if (!location) throw new ExpansionError(`invalid uri: "${uri}"`, hintFor("", inner));
    if (location.rest.includes("$"))
      throw new ExpansionError(`the uri "${uri}" contains unsupported characters ('$')`, "write ${env:NAME}");
    try {
      const got = await retrieve(location, location.scheme === "file" ? location.rest : reference, this.#around);
      if (got.warning) this.warnings.add(got.warning);
      return got;
    } catch (error) {
      throw new ExpansionError((error as Error).message, hintFor(location.scheme, inner));
    }
  }

  /** Until 0.103 the Collector expanded `$X` too; now it is text, which a file from that time does not expect. */
  #noteBareNames(value: string): void {
    for (const [, name = ""] of value.matchAll(/(?<!\$)(?:\$\$)*\$([a-zA-Z_][a-zA-Z0-9_]*)/g))
      if (Object.hasOwn(this.#around.env, name))
        this.warnings.add(
          `$${name} in the configuration is taken as it is, not as the environment variable of that name: write \${env:${name}}`,
        );
  }
}

/** A `${…}` that has no value. */
class ExpansionError extends Error {
  readonly hint: string | undefined;
  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

function hintFor(scheme: string, inner: string): string | undefined {
  if (SCHEMES.includes(scheme)) return undefined;
  if (inner.includes(":-")) return `a default needs the scheme: \${env:${inner}}`;
  return `known schemes: ${SCHEMES.join(", ")}`;
}

/**
 * The first reference to expand, innermost first; undefined when there is none, or when the next one is escaped (the
 * Collector then leaves the rest of the value alone too).
 */
export function findReference(text: string): string | undefined {
  let rest = text;
  for (;;) {
    const close = rest.indexOf("}");
    if (close < 0) return undefined;
    const open = rest.lastIndexOf("${", close);
    if (open < 0) {
      rest = rest.slice(close + 1);
      continue;
    }
    let dollars = 0;
    while (rest[open - 1 - dollars] === "$") dollars++;
    return dollars % 2 === 1 ? undefined : rest.slice(open, close + 1);
  }
}

function inline(text: string, reference: string, replacement: string): string {
  const result = text.replaceAll(reference, () => replacement);
  if (result.length > MAX_LENGTH)
    throw new ExpansionError(`the expanded value is longer than ${MAX_LENGTH} characters`);
  return result;
}

/** Values from the environment are shown where they are referred to, never in an excerpt of themselves. */
function moveTo(node: ConfigNode, at: Span): ConfigNode {
  if (node.kind === "scalar") return { ...node, at };
  if (node.kind === "list") return { ...node, at, items: node.items.map((item) => moveTo(item, at)) };
  const entries = [...node.entries].map(([name, entry]) => [name, { key: at, node: moveTo(entry.node, at) }] as const);
  return { ...node, at, entries: new Map(entries) };
}

/** `$$` -> `$`, once everything is expanded. */
function unescapeDollars(node: ConfigNode): ConfigNode {
  const plain = (text: string): string => text.replaceAll("$$", () => "$");
  const original = node.original === undefined ? {} : { original: plain(node.original) };
  if (node.kind === "scalar")
    return { ...node, ...original, value: typeof node.value === "string" ? plain(node.value) : node.value };
  if (node.kind === "list") return { ...node, ...original, items: node.items.map(unescapeDollars) };
  const entries = [...node.entries].map(
    ([name, entry]) => [name, { key: entry.key, node: unescapeDollars(entry.node) }] as const,
  );
  return { ...node, ...original, entries: new Map(entries) };
}
