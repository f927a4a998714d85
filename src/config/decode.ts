/** Tree -> decoded section, with the Collector's rules for values that `${…}` and null stand for. */
import { ConfigErrors } from "../kernel/errors.ts";
import { type ConfigNode, nodeAt } from "./node.ts";

/** Stands for "as if the key were not there". */
const ABSENT = Symbol("absent");

/** Decoding rounds that the alternatives of one section may need. */
const MAX_ROUNDS = 1000;

/**
 * Runs `decode` on the plain values of `node`. Where it refuses a value that came out of a reference, the text that
 * the reference stood for is tried (`${env:PORT}` is a number for a number and "4318" for a string); an empty one is
 * tried as the zero value of each type; a plain null means the default (confmap's useExpandValue, mapstructure's nil).
 * @throws what `decode` throws for the values as they are.
 */
export function decodeNode<T>(node: ConfigNode, decode: (value: unknown) => T): T {
  const chosen = new Map<string, number>();
  const hopeless = new Set<string>();
  for (let round = 0; ; round++) {
    try {
      return decode(choose(node, [], chosen));
    } catch (error) {
      if (!(error instanceof ConfigErrors) || round === MAX_ROUNDS) throw error;
      if (!tryNext(node, error, chosen, hopeless)) throw error;
    }
  }
}

/** Moves every refused value on to its next alternative; one that has none left goes back to what it was. */
function tryNext(node: ConfigNode, error: ConfigErrors, chosen: Map<string, number>, hopeless: Set<string>): boolean {
  let moved = false;
  for (const { path } of error.issues) {
    const key = JSON.stringify(path);
    const found = path.length === 0 ? undefined : nodeAt(node, path);
    const others = found ? alternatives(found) : [];
    if (others.length === 0 || hopeless.has(key)) continue;
    const next = (chosen.get(key) ?? 0) + 1;
    if (next <= others.length) chosen.set(key, next);
    else {
      chosen.delete(key);
      hopeless.add(key);
    }
    moved = true;
  }
  return moved;
}

function alternatives(node: ConfigNode): unknown[] {
  const nothing = node.kind === "scalar" && node.value === null;
  if (node.original === undefined) return nothing ? [ABSENT] : [];
  return nothing ? [node.original, 0, false, ABSENT] : [node.original];
}

function choose(node: ConfigNode, path: readonly string[], chosen: ReadonlyMap<string, number>): unknown {
  const choice = chosen.get(JSON.stringify(path)) ?? 0;
  if (choice > 0) return alternatives(node)[choice - 1];
  if (node.kind === "scalar") return node.value;
  if (node.kind === "list") return node.items.map((item, index) => choose(item, [...path, String(index)], chosen));
  const entries = [...node.entries].map(
    ([name, entry]) => [name, choose(entry.node, [...path, name], chosen)] as const,
  );
  return Object.fromEntries(entries.filter(([, value]) => value !== ABSENT));
}
