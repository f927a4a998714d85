/** The requests with the largest figure, with their spans. */
import { assembleTraces, isMeasure, type SpanNode } from "../../omni/trace-tree.ts";
import { attribute, STATUS_CODE } from "../../pdata/model.ts";
import type { RequestTree } from "../request-tree.ts";
import { Top } from "../select.ts";
import { type FigureName, type RequestFacts, textAttribute } from "../stats/request-facts.ts";
import type { OfflineTrace } from "../trace.ts";

/** A row of a waterfall; times in milliseconds. */
export interface WaterfallRow {
  readonly depth: number;
  readonly name: string;
  readonly service: string;
  /** From the request's start; below zero where the span begins before. */
  readonly offsetMs: number;
  readonly ms: number;
  readonly failed: boolean;
  /** An interval that overlaps the states. */
  readonly measure: boolean;
}

/** A request worth looking at. */
export interface SlowRequest {
  readonly id: string;
  readonly traceId: string;
  /** Unix milliseconds. */
  readonly startMs: number;
  readonly outcome: string;
  readonly policy: string;
  readonly prefill: string;
  readonly decode: string;
  readonly message: string;
  readonly bottleneck: string;
  /** Milliseconds, by figure. */
  readonly figures: Readonly<Partial<Record<FigureName, number>>>;
  readonly spans: readonly WaterfallRow[];
  /** Spans that are not in `spans`. */
  readonly more: number;
}

/** Spans of one waterfall. */
const MOST_ROWS = 80;

export class Slowest {
  readonly #by: FigureName;
  readonly #top: Top<SlowRequest>;

  constructor(count: number, by: FigureName) {
    this.#by = by;
    this.#top = new Top(count);
  }

  add(tree: RequestTree, facts: RequestFacts, trace: OfflineTrace): void {
    const value = facts.figures.get(this.#by);
    if (value === undefined || !this.#top.takes(value)) return;
    this.#top.add(slowRequest(tree, facts, trace), value);
  }

  /** The slowest first. */
  data(): SlowRequest[] {
    return this.#top.items();
  }
}

function slowRequest({ root }: RequestTree, facts: RequestFacts, trace: OfflineTrace): SlowRequest {
  const tree = assembleTraces(trace.resourceSpans).find(({ request }) => request?.span === root);
  const rows: WaterfallRow[] = [];
  let more = 0;
  for (const [node, depth] of tree?.request ? levels(tree.request) : []) {
    if (rows.length < MOST_ROWS) rows.push(rowOf(node, depth, root.startUnixNano));
    else more++;
  }
  return {
    id: facts.id,
    traceId: trace.traceId,
    startMs: Number(root.startUnixNano) / 1e6,
    outcome: facts.outcome,
    policy: facts.policy,
    prefill: facts.prefillAddress,
    decode: facts.decodeAddress,
    message: root.status.message.slice(0, 500),
    bottleneck: textAttribute(root.attributes, "omni.bottleneck"),
    figures: Object.fromEntries([...facts.figures].map(([name, seconds]) => [name, seconds * 1000])),
    spans: rows,
    more,
  };
}

/** A node and all below it with their depths, parents first. */
function* levels(top: SpanNode): Generator<readonly [SpanNode, number]> {
  const open: [SpanNode, number][] = [[top, 0]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    yield next;
    const [node, depth] = next;
    for (const child of node.children.toReversed()) open.push([child, depth + 1]);
  }
}

function rowOf(node: SpanNode, depth: number, originNs: bigint): WaterfallRow {
  const { span, service } = node;
  return {
    depth,
    name: span.name,
    service,
    offsetMs: Number(span.startUnixNano - originNs) / 1e6,
    ms: Math.max(0, Number(span.endUnixNano - span.startUnixNano)) / 1e6,
    failed: span.status.code === STATUS_CODE.ERROR || attribute(span.attributes, "error") === true,
    measure: isMeasure(node),
  };
}
