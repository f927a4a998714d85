/** Requests that did not end well: how many, what was said of them, and some of them by name. */
import { attribute } from "../../pdata/model.ts";
import type { RequestTree } from "../request-tree.ts";
import type { RequestFacts } from "../stats/request-facts.ts";

/** One request that did not end well. */
export interface FailedRequest {
  readonly id: string;
  readonly traceId: string;
  /** Unix milliseconds. */
  readonly startMs: number;
  readonly e2eMs: number;
  readonly prefill: string;
  readonly decode: string;
}

/** Failures that look the same. */
export interface FailureGroup {
  readonly outcome: string;
  /** What the log says; "" where it says nothing. */
  readonly message: string;
  readonly count: number;
  /** The earliest few. */
  readonly examples: readonly FailedRequest[];
}

/** Groups that are told apart; the rest is put together. */
const MOST_GROUPS = 100;
const MOST_EXAMPLES = 5;
const REST = "(others)";

export class Failures {
  readonly #groups = new Map<string, FailureGroup & { count: number; examples: FailedRequest[] }>();

  /** Takes any request; those that ended well are passed over. */
  add({ root }: RequestTree, facts: RequestFacts, traceId: string): void {
    const { outcome } = facts;
    if (outcome === "ok" || outcome === "") return;
    // Numbers are connections, ports and sizes: the same failure has others every time.
    const said = root.status.message.replace(/\d+/g, "N").slice(0, 500);
    const status = attribute(root.attributes, "http.response.status_code");
    const message = [said, typeof status === "bigint" ? `HTTP ${status}` : ""].filter((text) => text !== "").join("; ");
    const group = this.#group(outcome, message);
    group.count++;
    const startMs = Number(root.startUnixNano) / 1e6;
    const { examples } = group;
    if (examples.length === MOST_EXAMPLES && startMs >= (examples.at(-1)?.startMs ?? 0)) return;
    examples.push({
      id: facts.id,
      traceId,
      startMs,
      e2eMs: (facts.figures.get("end-to-end") ?? 0) * 1000,
      prefill: facts.prefillAddress,
      decode: facts.decodeAddress,
    });
    examples.sort((a, b) => a.startMs - b.startMs || compareText(a.id, b.id));
    examples.splice(MOST_EXAMPLES);
  }

  /** The most frequent first. */
  data(): FailureGroup[] {
    return [...this.#groups.values()].sort(
      (a, b) => b.count - a.count || compareText(a.outcome, b.outcome) || compareText(a.message, b.message),
    );
  }

  #group(outcome: string, message: string): FailureGroup & { count: number; examples: FailedRequest[] } {
    const key = `${outcome}\n${message}`;
    const found = this.#groups.get(key);
    if (found) return found;
    if (this.#groups.size >= MOST_GROUPS && outcome !== REST) return this.#group(REST, "");
    const group = { outcome, message, count: 0, examples: [] };
    this.#groups.set(key, group);
    return group;
  }
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
