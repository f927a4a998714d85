/** The tree part of a waterfall: which spans get a row, and what the row looks like. */
import { attribute, STATUS_CODE } from "../pdata/model.ts";
import { BLUE, CYAN, DIM, MAGENTA, type Pen, RED, type Segment, type Sgr, YELLOW } from "./pen.ts";
import { countSpans, isMeasure, type SpanNode, type TraceTree } from "./trace-tree.ts";

/** Columns of an offset, of a duration, of a name with its tree lines and of a bar, at least. */
const LEAST_TIME = 9;
const LEAST_LABEL = 8;
const LEAST_BAR = 10;
/** Tree lines beyond this many columns are cut on the left, or a deep trace would show no names. */
const MOST_GUIDE = 24;

/** One line: a span, or how many spans beside the ones above it are left out. */
interface Row {
  readonly node: SpanNode | undefined;
  readonly left: number;
  readonly guide: string;
  /** Whose service stands in the row above, so that it need not be repeated. */
  readonly parentService: string;
}

/** From when to when (ns after the origin) bars are drawn. */
interface Scale {
  readonly from: number;
  readonly to: number;
}

/** Lines of the tree, `width` columns wide, `maxRows` spans at most; the rest is counted where it is left out. */
export function drawTree(tree: TraceTree, width: number, maxRows: number, pen: Pen): string[] {
  const rows = listRows(tree, maxRows, pen);
  const nodes = rows.flatMap((row) => (row.node ? [row.node] : []));
  const origin = originOf(tree, nodes);
  const scale = scaleOf(tree, nodes, origin);
  const labels = rows.map((row) => labelOf(row, pen));
  const times = rows.map(({ node }) => (node === undefined ? ["", ""] : timesOf(node, origin, pen)));
  const timeColumns = times.flat().reduce((most, text) => Math.max(most, text.length), LEAST_TIME);
  const widest = labels.reduce((most, label) => Math.max(most, pen.widthOf(label)), 0);
  const forLabels = width - 2 * (timeColumns + 1) - 1 - Math.max(LEAST_BAR, Math.floor(width / 4));
  const labelColumns = Math.min(widest, Math.max(LEAST_LABEL, forLabels));
  const barColumns = width - labelColumns - 2 * (timeColumns + 1) - 1;
  return rows.map(({ node }, index) => {
    const label = pen.column(labels[index] as Segment[], labelColumns);
    if (node === undefined) return label.trimEnd();
    const [offset = "", length = ""] = times[index] as string[];
    const start = node.span.startUnixNano === 0n ? 0 : Number(node.span.startUnixNano - origin);
    const bar = drawBar(start, lengthOf(node), scale, barColumns, pen);
    const cells: Segment[] = [
      { text: ` ${offset.padStart(timeColumns)}`, sgr: DIM },
      { text: ` ${length.padStart(timeColumns)} ` },
      { text: bar, sgr: colourOf(node) },
    ];
    return label + pen.line(cells, width).trimEnd();
  });
}

/** Offset from `origin` and duration; a span without a start has no offset. */
function timesOf(node: SpanNode, origin: bigint, pen: Pen): string[] {
  const { startUnixNano } = node.span;
  return [startUnixNano === 0n ? "?" : pen.duration(startUnixNano - origin), pen.duration(lengthOf(node))];
}

/** Nanoseconds from start to end; negative when the span ends before it starts. */
export function lengthOf(node: SpanNode): number {
  return Number(node.span.endUnixNano - node.span.startUnixNano);
}

/** Rows in reading order. A parent with very many children shows the first of them, so that its siblings still fit. */
function listRows(tree: TraceTree, maxRows: number, pen: Pen): Row[] {
  const { branch, lastBranch, stem } = pen.glyphs;
  const siblings = Math.max(3, Math.floor(maxRows / 4));
  const rows: Row[] = [];
  const open: (Row & { readonly below: string })[] = [];
  const push = (nodes: readonly SpanNode[], parent: { below: string; service: string } | undefined): void => {
    const shown = nodes.length > siblings + 1 ? nodes.slice(0, siblings) : nodes;
    const rest = nodes.slice(shown.length);
    const guided = (row: Pick<Row, "node" | "left">, last: boolean): (typeof open)[number] => ({
      ...row,
      guide: parent ? parent.below + (last ? lastBranch : branch) : "",
      below: parent ? parent.below + (last ? " ".repeat(stem.length) : stem) : "",
      parentService: parent?.service ?? "",
    });
    const added = shown.map((node, index) => guided({ node, left: 0 }, index === nodes.length - 1));
    if (rest.length > 0) added.push(guided({ node: undefined, left: countSpans(rest) }, true));
    open.push(...added.reverse());
  };
  push(tree.tops, undefined);
  let drawn = 0;
  let counted = 0;
  for (let row = open.pop(); row !== undefined; row = open.pop()) {
    if (row.node !== undefined && drawn === maxRows) break;
    rows.push(row);
    if (row.node === undefined) {
      counted += row.left;
      continue;
    }
    drawn++;
    push(row.node.children, { below: row.below, service: row.node.service });
  }
  const left = tree.spanCount - drawn - counted;
  if (left > 0) rows.push({ node: undefined, left, guide: "", parentService: "" });
  return rows;
}

function labelOf(row: Row, pen: Pen): Segment[] {
  const { ellipsis, separator } = pen.glyphs;
  const guide = row.guide.length > MOST_GUIDE ? ellipsis + row.guide.slice(ellipsis.length - MOST_GUIDE) : row.guide;
  if (row.node === undefined)
    return [
      { text: guide, sgr: DIM },
      { text: `${ellipsis} ${row.left} more ${row.left === 1 ? "span" : "spans"}`, sgr: DIM },
    ];
  const { span, service } = row.node;
  const name = pen.short(span.name === "" ? "(no name)" : span.name, 60);
  const label: Segment[] = [
    { text: guide, sgr: DIM },
    { text: name, sgr: span.status.code === STATUS_CODE.ERROR ? RED : undefined },
  ];
  if (service !== "" && service !== row.parentService)
    label.push({ text: separator + pen.short(service, 30), sgr: DIM });
  return label;
}

/** What offsets count from: the request's start, else the earliest known start. */
function originOf(tree: TraceTree, nodes: readonly SpanNode[]): bigint {
  if (tree.request !== undefined && tree.request.span.startUnixNano !== 0n) return tree.request.span.startUnixNano;
  let least: bigint | undefined;
  for (const { span } of nodes)
    if (span.startUnixNano !== 0n && (least === undefined || span.startUnixNano < least)) least = span.startUnixNano;
  return least ?? 0n;
}

/**
 * Over what the bars stretch: all spans, yet of a request not more than its own length on either side, so that one
 * span with a wrong clock does not squeeze the others to nothing.
 */
function scaleOf(tree: TraceTree, nodes: readonly SpanNode[], origin: bigint): Scale {
  let from = 0;
  let to = 1;
  for (const { span } of nodes) {
    if (span.startUnixNano === 0n) continue;
    from = Math.min(from, Number(span.startUnixNano - origin));
    to = Math.max(to, Number(span.endUnixNano - origin));
  }
  if (tree.request === undefined) return { from, to };
  const length = Math.max(1, lengthOf(tree.request));
  return { from: Math.max(from, -length), to: Math.min(to, 2 * length) };
}

function drawBar(start: number, length: number, scale: Scale, columns: number, pen: Pen): string {
  const { bar, thin, before, after } = pen.glyphs;
  const cell = (scale.to - scale.from) / columns;
  if (start > scale.to) return " ".repeat(columns - 1) + after;
  if (start + length < scale.from) return before;
  const first = Math.min(columns - 1, Math.max(0, Math.round((start - scale.from) / cell)));
  const end = Math.min(columns, Math.max(first + 1, Math.round((start + length - scale.from) / cell)));
  return " ".repeat(first) + (length < cell / 2 ? thin : bar.repeat(end - first));
}

function colourOf(node: SpanNode): Sgr {
  const { name, status, attributes } = node.span;
  // The proxy's states of prefill and decode begin with these letters (actions.ts).
  const role = attribute(attributes, "omni.role");
  if (status.code === STATUS_CODE.ERROR) return RED;
  if (isMeasure(node)) return YELLOW;
  if (role === "prefill" || name.startsWith("P ")) return BLUE;
  if (role === "decode" || name.startsWith("D ")) return MAGENTA;
  return CYAN;
}
