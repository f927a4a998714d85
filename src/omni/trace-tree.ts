/** Spans as they came in, joined into trees: by trace id, then parent under parent. Whatever the spans say, every one is in exactly one tree. */
import { attribute, type ResourceSpans, type SpanData } from "../pdata/model.ts";
import { INTERVALS, ROOT_SPAN } from "./actions.ts";

/** A span, whose it is, and what hangs below it. */
export interface SpanNode {
  readonly span: SpanData;
  /** `service.name` of the resource; "" when absent. */
  readonly service: string;
  /** In order of reading: states first, then TTFT and the like; each by start, then end. */
  readonly children: SpanNode[];
  /** It names a parent that is not among the spans. */
  readonly orphan: boolean;
}

/** What belongs on one picture: a request's root with all below it, or the spans of a trace that are under no request's root. */
export interface TraceTree {
  readonly traceId: string;
  /** The node of the request's root span ("Trace for Omni Proxy"), or undefined for spans without one. */
  readonly request: SpanNode | undefined;
  /** Topmost nodes; of a request just its root. */
  readonly tops: readonly SpanNode[];
  readonly spanCount: number;
}

/** Intervals that overlap the states: listed after them, or a reader would take them for states. */
const MEASURES: ReadonlySet<string> = new Set(["TTFT", ...INTERVALS.map(({ name }) => name)]);

interface MutableNode extends SpanNode {
  parent: MutableNode | undefined;
  orphan: boolean;
}

/**
 * Trees in order of their start. Several requests in one trace (one client trace) are a tree each; spans of the trace
 * under none of them make one more, even where they are above a request (the client's own spans). A span id that occurs twice keeps both spans, the first takes the children; a ring
 * of parents is opened at its earliest span.
 */
export function assembleTraces(resources: readonly ResourceSpans[]): TraceTree[] {
  const traces = new Map<string, MutableNode[]>();
  for (const resource of resources) {
    const service = serviceName(resource);
    for (const { spans } of resource.scopeSpans)
      for (const span of spans) {
        const node: MutableNode = { span, service, children: [], orphan: false, parent: undefined };
        const nodes = traces.get(span.traceId);
        if (nodes) nodes.push(node);
        else traces.set(span.traceId, [node]);
      }
  }
  return [...traces]
    .flatMap(([traceId, nodes]) => treesOf(traceId, nodes))
    .sort((a, b) => compareNodes(a.tops[0], b.tops[0]) || compareText(a.traceId, b.traceId));
}

function serviceName(resource: ResourceSpans): string {
  const value = attribute(resource.resource.attributes, "service.name");
  return typeof value === "string" ? value : "";
}

function treesOf(traceId: string, nodes: readonly MutableNode[]): TraceTree[] {
  link(nodes);
  const tops = nodes.filter((node) => node.parent === undefined);
  for (const node of nodes) node.children.sort(compareNodes);
  const requests = tops.filter(isRequestRoot).sort(compareNodes);
  const others = tops.filter((node) => !isRequestRoot(node)).sort(compareNodes);
  const trees: TraceTree[] = requests.map((request) => ({
    traceId,
    request,
    tops: [request],
    spanCount: countSpans([request]),
  }));
  if (others.length > 0) trees.push({ traceId, request: undefined, tops: others, spanCount: countSpans(others) });
  return trees;
}

/** Sets parents and children. */
function link(nodes: readonly MutableNode[]): void {
  const byId = new Map<string, MutableNode>();
  for (const node of nodes) if (isId(node.span.spanId) && !byId.has(node.span.spanId)) byId.set(node.span.spanId, node);
  for (const node of nodes) {
    if (!isId(node.span.parentSpanId) || isRequestRoot(node)) continue;
    const parent = byId.get(node.span.parentSpanId);
    if (parent === undefined) node.orphan = true;
    else if (parent !== node) node.parent = parent;
  }
  openRings(nodes);
  for (const node of nodes) node.parent?.children.push(node);
}

/** Takes the parent from the earliest node of each ring of parents, so that what hangs on it is reached from a top. */
function openRings(nodes: readonly MutableNode[]): void {
  const done = new Set<MutableNode>();
  for (const start of nodes) {
    const path = new Set<MutableNode>();
    let node: MutableNode | undefined = start;
    while (node !== undefined && !done.has(node) && !path.has(node)) {
      path.add(node);
      node = node.parent;
    }
    if (node !== undefined && path.has(node)) {
      let earliest = node;
      for (let other = node.parent; other !== undefined && other !== node; other = other.parent)
        if (compareNodes(other, earliest) < 0) earliest = other;
      earliest.parent = undefined;
    }
    for (const seen of path) done.add(seen);
  }
}

/** An interval that overlaps the states of its request (TTFT, TPOT1, …). */
export function isMeasure(node: SpanNode): boolean {
  return MEASURES.has(node.span.name);
}

/** Neither absent nor all zero, which means absent. */
function isId(id: string): boolean {
  return /[^0]/.test(id);
}

function isRequestRoot(node: SpanNode): boolean {
  return node.span.name === ROOT_SPAN;
}

/** These nodes and all below them, parents first; a chain of any length needs no stack. */
export function* walk(tops: readonly SpanNode[]): Generator<SpanNode> {
  const open = [...tops].reverse();
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    yield node;
    for (const child of node.children.toReversed()) open.push(child);
  }
}

/** How many nodes `walk` gives. */
export function countSpans(tops: readonly SpanNode[]): number {
  let count = 0;
  for (const _ of walk(tops)) count++;
  return count;
}

function compareNodes(a: SpanNode | undefined, b: SpanNode | undefined): number {
  if (a === undefined || b === undefined) return 0;
  return (
    Number(isMeasure(a)) - Number(isMeasure(b)) ||
    compareBigint(a.span.startUnixNano, b.span.startUnixNano) ||
    compareBigint(a.span.endUnixNano, b.span.endUnixNano) ||
    compareText(a.span.spanId, b.span.spanId)
  );
}

function compareBigint(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
