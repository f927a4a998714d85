/** YAML text -> configuration tree, as the Collector's YAML reader sees it (go.yaml.in/yaml/v3 into untyped values). */
import { isAlias, isMap, isNode, isScalar, isSeq, parseAllDocuments, type YAMLMap } from "yaml";
import { type ConfigNode, DELIMITER, type MapEntry, mergeNodes, type Source, type Span } from "./node.ts";
import { resolvePlain, resolveTagged, type ScalarValue } from "./scalar.ts";

/** Something that is not YAML. */
export interface SyntaxIssue {
  readonly at: Span;
  readonly message: string;
}

/** Nodes that one text may become, aliases followed: a bound against "billion laughs". */
const MAX_NODES = 100_000;
/** Nesting, aliases followed. */
const MAX_DEPTH = 200;

/**
 * Reads the first document of `source`. Keys with `::` are split into maps, as koanf does. An empty text is null.
 * @returns the tree, which is only to be used when `issues` is empty.
 */
export function parseYaml(source: Source): { root: ConfigNode; issues: readonly SyntaxIssue[] } {
  const nothing: ConfigNode = { kind: "scalar", value: null, at: { source, start: 0, end: 0 } };
  const documents = parseAllDocuments(source.text, {
    // Every scalar stays text, so that scalar.ts alone says what it means.
    schema: "failsafe",
    resolveKnownTags: false,
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: "silent",
  });
  const document = "empty" in documents ? undefined : documents[0];
  if (!document) return { root: nothing, issues: [] };
  const issues: SyntaxIssue[] = document.errors.map((error) => ({
    at: { source, start: error.pos[0], end: error.pos[1] },
    message: error.message,
  }));
  if (issues.length > 0 || document.contents === null) return { root: nothing, issues };
  const reader = new TreeReader(source);
  return { root: reader.read(document.contents, 0), issues: reader.issues };
}

class TreeReader {
  readonly issues: SyntaxIssue[] = [];
  readonly #source: Source;
  /** Filled in reading order: an alias means the last anchor of that name before it. */
  readonly #anchors = new Map<string, unknown>();
  #count = 0;

  constructor(source: Source) {
    this.#source = source;
  }

  read(node: unknown, depth: number): ConfigNode {
    const at = this.#span(node);
    const nothing: ConfigNode = { kind: "scalar", value: null, at };
    if (++this.#count > MAX_NODES || depth > MAX_DEPTH) {
      if (this.issues.length === 0)
        this.#fail(at, depth > MAX_DEPTH ? "nested too deeply, or an anchor contains itself" : "excessive aliasing");
      return nothing;
    }
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (!target) this.#fail(at, `unknown anchor '${node.source}' referenced`);
      return target ? this.read(target, depth + 1) : nothing;
    }
    if (isNode(node) && node.anchor) this.#anchors.set(node.anchor, node);
    if (isScalar(node)) return { kind: "scalar", value: this.#scalar(node, at), at };
    if (isSeq(node)) return { kind: "list", items: node.items.map((item) => this.read(item, depth + 1)), at };
    return isMap(node) ? this.#map(node, at, depth) : nothing;
  }

  #scalar(node: { value: unknown; type?: string; tag?: string }, at: Span): ScalarValue {
    const text = String(node.value ?? "");
    const value = node.tag ? resolveTagged(node.tag, text) : node.type === "PLAIN" ? resolvePlain(text) : text;
    if (!(value instanceof Error)) return value;
    this.#fail(at, value.message);
    return null;
  }

  #map(map: YAMLMap, at: Span, depth: number): ConfigNode {
    const own = new Map<string, MapEntry>();
    const merged: ConfigNode[] = [];
    for (const pair of map.items) {
      const key = this.#span(pair.key);
      if (isScalar(pair.key) && pair.key.type === "PLAIN" && pair.key.value === "<<") {
        merged.push(this.read(pair.value, depth + 1));
        continue;
      }
      const name = this.#keyName(pair.key, key);
      if (name === undefined) continue;
      const before = own.get(name);
      if (before) {
        this.#fail(key, `mapping key "${name}" already defined at line ${lineOf(before.key)}`);
        continue;
      }
      own.set(name, { key, node: this.read(pair.value, depth + 1) });
    }
    let result: ConfigNode = { kind: "map", entries: new Map(), at };
    for (const part of merged.flatMap((node) => (node.kind === "list" ? node.items : [node]))) {
      if (part.kind !== "map") this.#fail(part.at, "map merge requires map or sequence of maps as the value");
      else result = { ...result, entries: new Map([...part.entries, ...result.entries]) };
    }
    result = { ...result, entries: new Map([...result.entries, ...own]) };
    return splitKeys(result);
  }

  #keyName(key: unknown, at: Span): string | undefined {
    const node = isAlias(key) ? this.#anchors.get(key.source) : key;
    if (isScalar(node)) return String(this.#scalar(node, at) ?? "");
    this.#fail(at, "invalid map key: only scalars can be keys");
    return undefined;
  }

  #span(node: unknown): Span {
    const range = (node as { range?: readonly number[] | null } | null)?.range;
    return { source: this.#source, start: range?.[0] ?? 0, end: range?.[1] ?? 0 };
  }

  #fail(at: Span, message: string): void {
    this.issues.push({ at, message });
  }
}

/** `{a::b: 1}` -> `{a: {b: 1}}`. */
function splitKeys(map: ConfigNode): ConfigNode {
  if (map.kind !== "map" || ![...map.entries.keys()].some((name) => name.includes(DELIMITER))) return map;
  let result: ConfigNode = { ...map, entries: new Map() };
  for (const [name, entry] of map.entries) {
    const [first = "", ...rest] = name.split(DELIMITER);
    const node = rest.reduceRight<ConfigNode>(
      (inner, step) => ({ kind: "map", entries: new Map([[step, { key: entry.key, node: inner }]]), at: entry.key }),
      entry.node,
    );
    result = mergeNodes(result, { ...map, entries: new Map([[first, { key: entry.key, node }]]) });
  }
  return result;
}

function lineOf(span: Span): number {
  return span.source.text.slice(0, span.start).split("\n").length;
}
