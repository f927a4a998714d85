/** What is wrong with a configuration, with the place in the file. */
import { type ConfigNode, locate } from "../config/node.ts";
import type { Problem } from "../config/resolve.ts";

/** Points at things in the file. */
export class ProblemList {
  readonly problems: Problem[] = [];
  readonly #root: ConfigNode;

  constructor(root: ConfigNode) {
    this.#root = root;
  }

  /** @param place where to point, when that is not `path`: the Collector's path is often less exact. */
  add(
    path: readonly string[],
    message: string,
    more: { hint?: string; atKey?: boolean; place?: readonly string[] } = {},
  ) {
    const at = locate(this.#root, more.place ?? path, more.atKey);
    this.problems.push({ path, message, ...(more.hint ? { hint: more.hint } : {}), ...(at ? { at } : {}) });
  }
}
