/**
 * The page: one file that needs nothing else. No script and no request: the policy in its head forbids both, and names
 * the style sheet by its hash.
 */
import { createHash } from "node:crypto";
import { formatBytes, formatCount } from "../../words.ts";
import type { ReportData } from "../collector.ts";
import { Html, html, NOTHING } from "./html.ts";
import {
  census,
  clocks,
  distributions,
  duration,
  failures,
  instances,
  moment,
  overTime,
  type PageOptions,
  type Section,
  stages,
} from "./sections.ts";
import { STYLE } from "./style.ts";
import { waterfalls } from "./waterfall.ts";

/** The whole document. The same data gives the same bytes. */
export function renderPage(data: ReportData, options: PageOptions): string {
  const sections: Section[] = [
    distributions(data),
    overTime(data),
    slowest(data, options),
    instances(data),
    clocks(data, options),
    census(data, options),
    failures(data, options),
    stages(data),
  ];
  const hash = createHash("sha256").update(STYLE).digest("base64");
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; img-src data:; base-uri 'none'; form-action 'none'`;
  const page = html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="${options.generator}">
<title>${data.title}</title>
<link rel="icon" href="data:,">
<style>${new Html(STYLE)}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<h1>${data.title}</h1>
<p class="dim">${period(data)} · ${origin(data)}</p>
<nav aria-label="Sections"><ul>${sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
</header>
<main id="main" tabindex="-1">
${tiles(data)}
${sections.map(({ id, title, body }) => html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>${body}</section>\n`)}</main>
<footer><p>Made by ${options.generator}. Times are UTC.</p></footer>
</body>
</html>
`;
  return String(page);
}

function slowest(data: ReportData, { jaeger }: PageOptions): Section {
  const { by, requests } = data.slowest;
  const body =
    requests.length === 0
      ? html`<p>No request has this figure: ${by}.</p>`
      : html`<p class="dim">The ${formatCount(requests.length)} requests with the largest ${by}. Each opens to its spans.</p>${waterfalls(data, jaeger)}`;
  return { id: "slowest", title: "Slowest requests", body };
}

function period({ period: known }: ReportData): string {
  if (!known) return "no request";
  const { fromMs, toMs } = known;
  return `${moment(fromMs)} to ${moment(toMs)} (${duration(toMs - fromMs)})`;
}

function origin({ source }: ReportData): string {
  switch (source.kind) {
    case "logs":
      return `${formatCount(source.lines)} lines of logs (${formatBytes(source.bytes)})`;
    case "recording":
      return `${formatCount(source.traces)} recorded traces (${formatBytes(source.bytes)})`;
    case "jaeger":
      return `${formatCount(source.traces)} traces from Jaeger`;
  }
}

function tiles({ statistics: { requests }, distributions: all, period: known }: ReportData): Html {
  const well = requests.outcomes["ok"] ?? 0;
  const seconds = known ? (known.toMs - known.fromMs) / 1000 : 0;
  const rate = seconds > 0 ? html`<small>${(requests.seen / seconds).toPrecision(3)} a second</small>` : NOTHING;
  const figures = all.map(
    ({ figure, p50, p99 }) =>
      html`<div><dt>${figure}</dt><dd>${duration(p50)}<small>median; p99 ${duration(p99)}</small></dd></div>`,
  );
  return html`<dl class="tiles"><div><dt>Requests</dt><dd>${formatCount(requests.seen)}${rate}</dd></div><div><dt>Ended well</dt><dd>${formatCount(well)}<small>${((100 * well) / Math.max(1, requests.seen)).toFixed(1)} %</small></dd></div>${figures}</dl>`;
}
