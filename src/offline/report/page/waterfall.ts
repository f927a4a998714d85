/** The slowest requests, each with its spans as a table with bars. */
import { formatDuration } from "../../../omni/text.ts";
import { formatCount } from "../../words.ts";
import type { ReportData } from "../collector.ts";
import type { SlowRequest, WaterfallRow } from "../slowest.ts";
import { strip } from "./charts.ts";
import { type Html, html, NOTHING, short } from "./html.ts";

const MOST_INDENT = 6;
const LOOKS: ReadonlyMap<string, string> = new Map([
  ["Proxy received request", "s0"],
  ["Process request", "s0"],
  ["Tokenizer", "s0"],
  ["APC matching", "s0"],
  ["P waiting", "s1"],
  ["P scheduled", "s1"],
  ["P running", "s2"],
  ["D waiting", "s3"],
  ["D scheduled", "s3"],
  ["D running", "s4"],
]);

/** Folded blocks, the first one open. */
export function waterfalls({ slowest: { requests } }: ReportData, jaeger: string | undefined): Html {
  return html`${requests.map((request, index) => waterfall(request, index === 0, jaeger))}`;
}

/** An id, as a link to its trace where it is known where traces are. */
export function requestLink(id: string, traceId: string, jaeger: string | undefined): Html {
  const text = html`<code>${short(id === "" ? traceId : id, 80)}</code>`;
  const base = jaeger?.replace(/\/+$/, "");
  return base !== undefined && /^https?:\/\//i.test(base) && /^[0-9a-f]{1,32}$/.test(traceId)
    ? html`<a href="${base}/trace/${traceId}" rel="noreferrer">${text}</a>`
    : text;
}

function waterfall(request: SlowRequest, open: boolean, jaeger: string | undefined): Html {
  const { id, traceId, startMs, outcome, figures, spans, more, message } = request;
  const time = (ms: number | undefined) => (ms === undefined ? "–" : formatDuration(ms * 1e6));
  const caption = `Spans of ${short(id, 80)}`;
  const from = Math.min(0, ...spans.map(({ offsetMs }) => offsetMs));
  const to = Math.max(...spans.map(({ offsetMs, ms }) => offsetMs + ms));
  const facts: readonly (readonly [string, string])[] = [
    ["started", new Date(startMs).toISOString().replace("T", " ").slice(0, 23)],
    ["policy", request.policy],
    ["prefill", request.prefill],
    ["decode", request.decode],
    ["bottleneck", request.bottleneck],
    ["queue", figures.queue === undefined ? "" : time(figures.queue)],
    ["TPOT", figures.TPOT === undefined ? "" : time(figures.TPOT)],
    ["trace", traceId],
  ];
  const opened = open ? html`<details open>` : html`<details>`;
  return html`${opened}<summary><b>${time(figures["end-to-end"])}</b> · TTFT ${time(figures.TTFT)} · <code>${short(id, 80)}</code> · ${outcomeText(outcome)}</summary>
<p class="facts">${facts.filter(([, text]) => text !== "").map(([label, text]) => html`<span>${label} <b>${short(text, 80)}</b></span> `)}${jaeger === undefined ? NOTHING : html`<span>in Jaeger: ${requestLink(id, traceId, jaeger)}</span>`}</p>
${message === "" ? NOTHING : html`<p class="bad-text">${message}</p>`}
<div class="scroll" role="region" aria-label="${caption}" tabindex="0"><table class="waterfall" role="table"><caption>${caption}</caption><thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">span</th><th role="columnheader" scope="col" class="n">begins</th><th role="columnheader" scope="col" class="n">takes</th><th role="columnheader" scope="col" class="p">${time(from)} to ${time(to)}</th></tr></thead><tbody role="rowgroup">${spanRows(spans, from, to)}</tbody></table></div>
${more > 0 ? html`<p class="dim">and ${formatCount(more)} more spans</p>` : NOTHING}</details>`;
}

/** Spans below a state have its colour. */
function spanRows(spans: readonly WaterfallRow[], from: number, to: number): Html[] {
  const looks: string[] = [];
  return spans.map((span) => {
    const { depth, name, measure, failed } = span;
    const look = depth === 0 ? "zero" : measure ? "s5" : (LOOKS.get(name) ?? looks[depth - 1] ?? "s2");
    looks[depth] = look === "zero" ? "s2" : look;
    return spanRow(span, from, to, failed ? "bad" : look);
  });
}

function spanRow(span: WaterfallRow, from: number, to: number, look: string): Html {
  const { depth, name, service, offsetMs, ms, failed, measure } = span;
  const bar = strip(from, to, [{ from: offsetMs, to: offsetMs + ms, look }]);
  // The states are the proxy's own, as the root is.
  const whose = service === "" || depth === 1 ? NOTHING : html` <span class="service">${short(service, 60)}</span>`;
  return html`<tr role="row" class="${measure ? "measure" : "span"}"><th role="rowheader" scope="row" class="t"><span class="d${Math.min(depth, MOST_INDENT)}">${short(name, 80)}</span>${whose}${failed ? html` <span class="bad-text">failed</span>` : NOTHING}</th><td role="cell" class="n">${formatDuration(offsetMs * 1e6)}</td><td role="cell" class="n">${formatDuration(ms * 1e6)}</td><td role="cell" class="p">${bar}</td></tr>`;
}

function outcomeText(outcome: string): Html {
  const text = outcome === "" ? "outcome unknown" : short(outcome, 60);
  return html`<span class="${outcome === "ok" ? "good-text" : "bad-text"}">${text}</span>`;
}
