/** Merged traces as text for people: a block a request, its spans as a tree with bars. Pure; `debug` and `demo` print it. */
import { type AttributeValue, attribute, type ResourceSpans, STATUS_CODE } from "../pdata/model.ts";
import { D_RUNNING_SPAN, P_RUNNING_SPAN } from "./actions.ts";
import { BOLD, DIM, GREEN, Pen, RED, type Segment, YELLOW } from "./pen.ts";
import { assembleTraces, countSpans, type SpanNode, type TraceTree, walk } from "./trace-tree.ts";
import { drawTree, lengthOf } from "./waterfall-rows.ts";

/** How to draw. */
export interface WaterfallOptions {
  /** Columns of the terminal; 60 at least. Default 100. */
  readonly width?: number;
  /** ANSI colours. Default false. */
  readonly colour?: boolean;
  /** Only U+0020 to U+007E, for terminals without Unicode. Default false. */
  readonly ascii?: boolean;
  /** Blocks at most; what is left out is counted in the last line. Default 50. */
  readonly maxTraces?: number;
  /** Spans drawn a block at most; the rest is counted. Default 100. */
  readonly maxRows?: number;
}

const LEAST_WIDTH = 60;
const INDENT = "  ";
/** Values that a note names at most; the rest is counted. */
const NAMED = 3;
/** Lines of a note. */
const NOTE_LINES = 4;
/** Columns of an id or of a name in a note. */
const ID_COLUMNS = 44;

/**
 * The spans as waterfalls, in order of their start, a line feed at the end; "" for no spans. Text from spans never
 * reaches the terminal unescaped. A request's block has a header (id, outcome, method, status, policy; TTFT, TPOT,
 * end-to-end, trace id), the tree with offset from the request's start, duration and bar, and notes on what is missing,
 * failed or incomplete. Spans of a trace that are under no request come in a block of their own, which says so.
 */
export function renderTraces(resources: readonly ResourceSpans[], options: WaterfallOptions = {}): string {
  const { width = 100, colour = false, ascii = false, maxTraces = 50, maxRows = 100 } = options;
  const pen = new Pen({ colour, ascii });
  const columns = Math.max(LEAST_WIDTH, Math.floor(width));
  const inner = columns - INDENT.length;
  const trees = assembleTraces(resources);
  const blocks = trees.slice(0, maxTraces).map((tree) => {
    const [title = [], ...more] = tree.request ? requestHeader(tree, tree.request, pen) : traceHeader(tree, pen);
    return [
      pen.line(title, columns),
      ...more.map((line) => INDENT + pen.line(line, inner)),
      ...drawTree(tree, inner, maxRows, pen).map((line) => INDENT + line),
      ...(tree.request ? requestNotes(tree.request, pen) : traceNotes(tree, pen)).flatMap((note) =>
        drawNote(note, inner, pen).map((line) => INDENT + line),
      ),
    ].join("\n");
  });
  const left = trees.slice(blocks.length);
  if (left.length > 0) {
    const spans = left.reduce((sum, tree) => sum + tree.spanCount, 0);
    const text = `${pen.glyphs.ellipsis} ${count(left.length, "more block")} with ${count(spans, "span")} not shown`;
    blocks.push(pen.line([{ text, sgr: DIM }], columns));
  }
  return blocks.map((block) => `${block}\n`).join("\n");
}

function requestHeader(tree: TraceTree, request: SpanNode, pen: Pen): Segment[][] {
  const { separator } = pen.glyphs;
  const outcome = fact(request, "omni.outcome");
  const status = fact(request, "http.response.status_code");
  const facts = [
    [fact(request, "http.request.method"), fact(request, "url.path")].filter(isSome).join(" "),
    status === undefined ? "" : `HTTP ${status}`,
    fact(request, "omni.pd_policy") ?? "",
    fact(request, "gen_ai.request.model") ?? "",
  ];
  const title: Segment[] = [
    { text: pen.short(fact(request, "request_id") ?? "(no request id)", ID_COLUMNS), sgr: BOLD },
  ];
  if (outcome !== undefined)
    title.push({ text: separator }, { text: pen.short(outcome, 24), sgr: outcome === "ok" ? GREEN : RED });
  for (const text of facts) if (text !== "") title.push({ text: separator + pen.short(text, ID_COLUMNS) });
  const seconds = (name: string, key: string): string | undefined => {
    const value = Number(fact(request, key) ?? Number.NaN);
    return Number.isFinite(value) ? `${name} ${pen.duration(value * 1e9)}` : undefined;
  };
  const times = [
    seconds("TTFT", "omni.ttft_seconds"),
    seconds("TPOT", "omni.tpot_seconds"),
    `end-to-end ${pen.duration(lengthOf(request))}`,
    tokens(request),
  ];
  return [title, [{ text: times.filter(isSome).join(separator) }], [{ text: `trace ${tree.traceId}`, sgr: DIM }]];
}

/** vLLM's own counts, which the root has when one decode span told them. */
function tokens(request: SpanNode): string | undefined {
  const given = fact(request, "gen_ai.usage.prompt_tokens");
  const made = fact(request, "gen_ai.usage.completion_tokens");
  return given === undefined || made === undefined ? undefined : `${given} tokens in, ${made} out`;
}

function traceHeader(tree: TraceTree, pen: Pen): Segment[][] {
  const services = new Set(tree.tops.map((node) => node.service).filter((service) => service !== ""));
  const facts = [
    "no request of Omni Proxy",
    count(tree.spanCount, "span"),
    ...[...services].slice(0, NAMED).map((service) => pen.short(service, ID_COLUMNS)),
  ];
  return [
    [
      { text: `trace ${tree.traceId}`, sgr: BOLD },
      { text: pen.glyphs.separator + facts.join(pen.glyphs.separator), sgr: DIM },
    ],
  ];
}

/** Something to know about a block, below its tree. */
interface Note {
  readonly name: string;
  /** Printable. */
  readonly text: string;
}

/** A note in as many lines as it takes, up to NOTE_LINES. */
function drawNote({ name, text }: Note, columns: number, pen: Pen): string[] {
  const label = `${name}: `;
  const sgr = name === "error" ? RED : YELLOW;
  return pen
    .wrap(text, columns - label.length, NOTE_LINES)
    .map((line, index) =>
      pen.line([{ text: index === 0 ? label : " ".repeat(label.length), sgr }, { text: line }], columns),
    );
}

function requestNotes(request: SpanNode, pen: Pen): Note[] {
  const without = request.children.filter(
    (node) =>
      (node.span.name === P_RUNNING_SPAN || node.span.name === D_RUNNING_SPAN) && !node.children.some(isEngineSpan),
  );
  const notes: Note[] = [];
  const missing = attribute(request.span.attributes, "omni.missing_actions");
  const names = Array.isArray(missing) ? missing.slice(0, 50).map(textOf) : [textOf(missing)];
  const present = names.filter(isSome).filter((name) => name !== "");
  if (present.length > 0)
    notes.push({ name: "missing", text: present.map((name) => pen.short(name, ID_COLUMNS)).join(", ") });
  if (without.length > 0)
    notes.push({ name: "no llm_request", text: `under ${without.map((node) => node.span.name).join(", ")}` });
  if (fact(request, "omni.incomplete") === "true")
    notes.push({ name: "incomplete", text: "the end of this request was not seen" });
  return [...notes, ...errorNotes([request], pen)];
}

/** What failed spans say, a parent before its children, each text once. */
function errorNotes(tops: readonly SpanNode[], pen: Pen): Note[] {
  const messages = new Set<string>();
  for (const { span } of walk(tops)) {
    if (span.status.code === STATUS_CODE.ERROR && span.status.message !== "") messages.add(span.status.message);
    if (messages.size === NAMED) break;
  }
  return [...messages].map((message) => ({ name: "error", text: pen.short(message, 400) }));
}

function traceNotes(tree: TraceTree, pen: Pen): Note[] {
  const unmerged = tree.tops.filter(isEngineSpan);
  const orphans = tree.tops.filter((node) => node.orphan);
  const notes: Note[] = [];
  if (unmerged.length > 0) {
    const ids = unmerged.map((node) => fact(node, "gen_ai.request.id") ?? "");
    notes.push({ name: "unmerged", text: `${count(countSpans(unmerged), "span")} of vLLM: ${named(ids, pen)}` });
  }
  if (orphans.length > 0)
    notes.push({
      name: "parent not here",
      text: named([...new Set(orphans.map((node) => node.span.parentSpanId))], pen),
    });
  return [...notes, ...errorNotes(tree.tops, pen)];
}

/** vLLM's span of a request. */
function isEngineSpan(node: SpanNode): boolean {
  return attribute(node.span.attributes, "gen_ai.request.id") !== undefined;
}

function named(values: readonly string[], pen: Pen): string {
  const rest = values.length - NAMED;
  const shown = values.slice(0, NAMED).map((value) => pen.short(value, ID_COLUMNS));
  return shown.join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

function count(value: number, what: string): string {
  return `${value} ${what}${value === 1 ? "" : "s"}`;
}

function fact(node: SpanNode, key: string): string | undefined {
  return textOf(attribute(node.span.attributes, key));
}

function textOf(value: AttributeValue | undefined): string | undefined {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "bigint":
    case "boolean":
      return String(value);
    default:
      return undefined;
  }
}

function isSome(value: string | undefined): value is string {
  return value !== undefined;
}
