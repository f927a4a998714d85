/**
 * The configuration as a tree that remembers where each key and value was written, so that whatever is found wrong
 * later can be shown in the file.
 */
import type { ScalarValue } from "./scalar.ts";

/** A text that configuration was read from. */
export interface Source {
  /** As a person would call it: "otel.yml", "--set service::telemetry::logs::level=debug". */
  readonly name: string;
  readonly text: string;
}

/** A piece of a source: UTF-16 offsets, `end` exclusive. */
export interface Span {
  readonly source: Source;
  readonly start: number;
  readonly end: number;
}

interface Common {
  readonly at: Span;
  /** The text that a `${…}` which is the whole value stood for: what a field of type string gets ("010" for 8). */
  readonly original?: string;
}
export type ScalarNode = Common & { readonly kind: "scalar"; readonly value: ScalarValue };
export type ListNode = Common & { readonly kind: "list"; readonly items: readonly ConfigNode[] };
export type MapNode = Common & { readonly kind: "map"; readonly entries: ReadonlyMap<string, MapEntry> };
export type ConfigNode = ScalarNode | ListNode | MapNode;
export interface MapEntry {
  readonly key: Span;
  readonly node: ConfigNode;
}

/** Separates the levels of a key path, in messages and in keys (`--set a::b=c`; confmap's KeyDelimiter). */
export const DELIMITER = "::";

/** A map without entries. */
export function emptyMap(source: Source): MapNode {
  return { kind: "map", entries: new Map(), at: { source, start: 0, end: 0 } };
}

/** `over` on top of `base`: maps are merged key by key, anything else - a list, a null - replaces (koanf's maps.Merge). */
export function mergeNodes(base: ConfigNode, over: ConfigNode): ConfigNode {
  if (base.kind !== "map" || over.kind !== "map") return over;
  const entries = new Map(base.entries);
  for (const [name, entry] of over.entries) {
    const below = entries.get(name);
    entries.set(name, below ? { key: entry.key, node: mergeNodes(below.node, entry.node) } : entry);
  }
  return { ...over, entries };
}

/** The node at `path`, list items by index; undefined when there is none. */
export function nodeAt(root: ConfigNode, path: readonly string[]): ConfigNode | undefined {
  let node: ConfigNode | undefined = root;
  for (const step of path) {
    if (node?.kind === "map") node = node.entries.get(step)?.node;
    else if (node?.kind === "list") node = node.items[Number(step)];
    else return undefined;
  }
  return node;
}

/** Plain JavaScript values, as a decoder wants them. */
export function toPlain(node: ConfigNode): unknown {
  if (node.kind === "scalar") return node.value;
  if (node.kind === "list") return node.items.map(toPlain);
  return Object.fromEntries([...node.entries].map(([name, entry]) => [name, toPlain(entry.node)]));
}

/**
 * Where to point for an issue at `path`: its value, or its key when `atKey` or when there is no value to see. Where the
 * path is missing, the nearest key above it that exists; undefined when not even its first key does.
 */
export function locate(root: ConfigNode, path: readonly string[], atKey = false): Span | undefined {
  let node: ConfigNode = root;
  let key: Span | undefined;
  for (const [depth, step] of path.entries()) {
    const last = depth === path.length - 1;
    if (node.kind === "map") {
      const entry: MapEntry | undefined = node.entries.get(step);
      if (!entry) return key;
      key = entry.key;
      node = entry.node;
    } else if (node.kind === "list") {
      const item: ConfigNode | undefined = node.items[Number(step)];
      if (!item) return key;
      key = item.at;
      node = item;
    } else return key;
    if (last && !atKey && node.kind === "scalar" && node.at.end > node.at.start) return node.at;
  }
  return key;
}
