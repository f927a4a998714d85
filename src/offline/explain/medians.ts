/** What every stage usually takes: medians over the requests that ended well. */
import { ROOT_SPAN } from "../../omni/actions.ts";
import { Sample } from "../numbers/sample.ts";
import type { Scratch } from "../numbers/scratch.ts";
import { type RequestTree, requestTrees, SpanPath } from "../request-tree.ts";
import { textAttribute } from "../stats/request-facts.ts";
import type { OfflineTrace } from "../trace.ts";

/** A stage of one request beside what it usually takes, milliseconds. */
export interface StageTime {
  /** Names below the root, "/" between them; the root's own name for the whole. */
  readonly stage: string;
  readonly ms: number;
  /** undefined when no other request has it. */
  readonly medianMs: number | undefined;
  /** How many others have it. */
  readonly others: number;
}

export class StageMedians {
  readonly #scratch: Scratch;
  readonly #top = new SpanPath(ROOT_SPAN);
  readonly #samples = new Map<SpanPath, Sample>();

  constructor(scratch: Scratch) {
    this.#scratch = scratch;
  }

  /** The trace's requests. */
  trees(trace: OfflineTrace): RequestTree[] {
    return requestTrees(trace.resourceSpans, this.#top);
  }

  /** Takes a request, if it ended well. */
  add(tree: RequestTree): void {
    if (textAttribute(tree.root.attributes, "omni.outcome") !== "ok") return;
    for (const { span, path } of tree.spans) {
      let sample = this.#samples.get(path);
      if (!sample) {
        sample = new Sample(this.#scratch);
        this.#samples.set(path, sample);
      }
      sample.add(Number(span.endUnixNano - span.startUnixNano) / 1e6);
    }
  }

  /** The stages of a request that was not added, beside the others. */
  compare(tree: RequestTree): StageTime[] {
    return tree.spans.map(({ span, path }) => {
      const sample = this.#samples.get(path);
      return {
        stage: path === this.#top ? ROOT_SPAN : String(path).slice(ROOT_SPAN.length + 1),
        ms: Number(span.endUnixNano - span.startUnixNano) / 1e6,
        medianMs: sample?.percentiles([50])[0],
        others: sample?.count ?? 0,
      };
    });
  }
}
