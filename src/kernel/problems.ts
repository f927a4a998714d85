/** What is wrong with a configuration, with the place in the file. */
import { type ConfigNode, locate } from "../config/node.ts";
import type { Problem } from "../config/resolve.ts";

/** Points at things in the file. */
export class ProblemList {
  readonly #problems: Problem[] = [];
  readonly #root: ConfigNode;

  constructor(root: ConfigNode) {
    this.#root = root;
  }

  /** In the order of the text that they are about; what is about no text comes first. */
  sorted(): Problem[] {
    const sources = [...new Set(this.#problems.map((problem) => problem.at?.source))];
    const rank = ({ at }: Problem): number => (at ? sources.indexOf(at.source) : -1);
    return [...this.#problems].sort((a, b) => rank(a) - rank(b) || (a.at?.start ?? 0) - (b.at?.start ?? 0));
  }

  /** @param place where to point, when that is not `path`: the Collector's path is often less exact. */
  add(
    path: readonly string[],
    message: string,
    more: { hint?: string; atKey?: boolean; place?: readonly string[] } = {},
  ) {
    const at = locate(this.#root, more.place ?? path, more.atKey);
    this.#problems.push({ path, message, ...(more.hint ? { hint: more.hint } : {}), ...(at ? { at } : {}) });
  }
}
