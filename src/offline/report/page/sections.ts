/** The parts of the page, each from its part of the data. */
import { formatDuration } from "../../../omni/text.ts";
import { formatCount } from "../../words.ts";
import type { ReportData } from "../collector.ts";
import type { Comparison } from "../instances.ts";
import { PHASES } from "../timeline.ts";
import { histogram, stacked, strip } from "./charts.ts";
import { Html, html, NOTHING, short } from "./html.ts";
import { type Column, folded, table } from "./tables.ts";
import { requestLink } from "./waterfall.ts";

/** What the page is told beside the data. */
export interface PageOptions {
  /** The address of Jaeger's UI, for links. */
  readonly jaeger: string | undefined;
  readonly generator: string;
  /** Whether vLLM's spans could be among what was read. */
  readonly spansKnown: boolean;
}

/** A part of the page with what the navigation calls it. */
export interface Section {
  readonly id: string;
  readonly title: string;
  readonly body: Html;
}

const MOST_ROWS = 100;
const number = (title: string): Column => ({ title, number: true });

/** Milliseconds for people. */
export function duration(ms: number): string {
  return formatDuration(ms * 1e6);
}

/** Unix milliseconds in UTC. */
export function moment(ms: number, digits: 16 | 19 | 23 = 19): string {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? "?" : time.toISOString().slice(0, digits).replace("T", " ");
}

/** TTFT, TPOT and end-to-end. */
export function distributions({ distributions: all }: ReportData): Section {
  const cards = all.map(({ figure, count, p50, p90, p99, mean, min, max, bars }) => {
    const markers = [
      { name: "p50", value: p50 },
      { name: "p90", value: p90 },
      { name: "p99", value: p99 },
    ];
    const title = `${figure}: ${formatCount(count)} requests, median ${duration(p50)}, p90 ${duration(p90)}, p99 ${duration(p99)}`;
    const rows = bars.map((bar) => [`${duration(bar.from)} – ${duration(bar.to)}`, formatCount(bar.count)]);
    return html`<figure class="card"><h3>${figure}</h3>${histogram(bars, markers, title, duration)}
<figcaption class="dim">${formatCount(count)} requests · min ${duration(min)} · mean ${duration(mean)} · p50 ${duration(p50)} · p90 ${duration(p90)} · p99 ${duration(p99)} · max ${duration(max)}</figcaption>
${folded(`Requests by ${figure}`, [{ title: figure }, number("requests")], rows)}</figure>`;
  });
  return {
    id: "latency",
    title: "Latency",
    body: html`<p class="dim">How many requests took how long; the axis of time is logarithmic.</p><div class="grid3">${cards}</div>`,
  };
}

/** Stages and numbers of requests over time. */
export function overTime({ timeline: { bins, widthMs } }: ReportData): Section {
  const classes = PHASES.map((_, index) => `s${index}`);
  const sameDay = moment(bins[0]?.startMs ?? 0).slice(0, 10) === moment(bins.at(-1)?.startMs ?? 0).slice(0, 10);
  const at = (slot: number): string => {
    const text = moment(bins[slot]?.startMs ?? 0);
    return sameDay ? text.slice(11) : text.slice(5, 16);
  };
  const width = duration(widthMs);
  const rows = bins
    .filter(({ requests }) => requests > 0)
    .map(({ startMs, requests, failed, phases }) => [
      moment(startMs),
      formatCount(requests),
      formatCount(failed),
      ...phases.map(duration),
    ]);
  return {
    id: "time",
    title: "Stages over time",
    body: html`<p class="dim">Requests by their start, ${width} a bar, in UTC. Above: where a request's time went, the mean. Below: how many requests started.</p>
<figure class="card">${stacked(
      bins.map(({ phases }) => ({ values: phases })),
      classes,
      `Mean time of a request in each stage, ${width} a bar; the numbers are in the table below`,
      duration,
      at,
    )}${legend(PHASES.map((phase, index) => [classes[index] ?? "", phase]))}</figure>
<figure class="card">${stacked(
      bins.map(({ requests, failed }) => ({ values: [requests - failed, failed] })),
      ["s2", "bad"],
      `Requests that started, ${width} a bar; the numbers are in the table below`,
      (value) => String(Math.round(value)),
      at,
    )}${legend([
      ["s2", "ended well"],
      ["bad", "did not"],
    ])}</figure>
${folded("Stages over time", [{ title: "from (UTC)" }, number("requests"), number("failed"), ...PHASES.map(number)], rows)}`,
  };
}

/** Instances beside each other. */
export function instances({ instances: all }: ReportData): Section {
  return {
    id: "instances",
    title: "Instances",
    body:
      all.length === 0
        ? html`<p>The source does not say which instances served the requests.</p>`
        : html`<p class="dim">The bar reaches from the median to the 99th percentile, the mark in it is the 90th. An outlier is an instance whose median is at least a quarter off what is typical, and out of line with how far the others are apart; it takes three to tell.</p>${all.map(comparison)}`,
  };
}

function comparison({ title, typical, rows, more }: Comparison): Html {
  const most = Math.max(...rows.map(({ p99 }) => p99));
  const cells = rows.map(({ name: instance, requests, failed, p50, p90, p99, outlier }) => [
    html`<code>${short(instance, 80)}</code>${outlier === undefined ? NOTHING : html` <span class="bad-text">${outlier > 1 ? "▲" : "▼"} outlier, ${outlier.toFixed(2)} × typical</span>`}`,
    formatCount(requests),
    formatCount(failed),
    duration(p50),
    duration(p90),
    duration(p99),
    strip(0, most, [
      { from: p50, to: p99, look: outlier === undefined ? "soft" : "bad" },
      { from: p90, to: p90, look: "dot" },
    ]),
  ]);
  const columns = [{ title: "instance" }, ...["requests", "failed", "p50", "p90", "p99"].map(number)];
  const caption = `typical median ${duration(typical)}${more > 0 ? `; ${formatCount(more)} faster instances are not listed` : ""}`;
  return html`<div class="card"><h3>${title}</h3>${table(caption, [...columns, { title: `0 to ${duration(most)}`, picture: true }], cells)}</div>`;
}

/** Clock offsets. */
export function clocks({ clocks: { proxyUncertaintyMs, instances: rows } }: ReportData, options: PageOptions): Section {
  const reach = Math.max(
    0.001,
    ...rows.map(({ offsetMs = 0, uncertaintyMs = 0 }) => Math.abs(offsetMs) + uncertaintyMs),
  );
  const cells = rows.map(({ instance, service, spans, offsetMs, uncertaintyMs, certain }) => [
    html`<code>${short(instance, 80)}</code>${service === "" || service === instance ? NOTHING : html` <span class="service">${short(service, 60)}</span>`}`,
    formatCount(spans),
    offsetMs === undefined ? "contradictory" : signed(offsetMs),
    uncertaintyMs === undefined ? "" : `± ${duration(uncertaintyMs)}`,
    offsetMs === undefined
      ? html`<span class="bad-text">its clock was set, or spans lie under the wrong state</span>`
      : certain
        ? html`<span class="bad-text">▲ certainly off</span>`
        : html`<span class="good-text">fits the proxy's</span>`,
    offsetMs === undefined || uncertaintyMs === undefined
      ? NOTHING
      : strip(-reach, reach, [
          { from: offsetMs - uncertaintyMs, to: offsetMs + uncertaintyMs, look: certain ? "bad" : "soft" },
          { from: offsetMs, to: offsetMs, look: "dot" },
          { from: 0, to: 0, look: "zero" },
        ]),
  ]);
  const columns = [
    { title: "instance" },
    ...["spans", "offset", "uncertainty"].map(number),
    { title: "" },
    { title: `−${duration(reach)} to +${duration(reach)}`, picture: true },
  ];
  const proxy =
    proxyUncertaintyMs === undefined
      ? "Nothing tells how well the proxy's log clock is known."
      : `The proxy's log clock is known against unix time to ± ${duration(proxyUncertaintyMs)}.`;
  const none = options.spansKnown
    ? "No span of vLLM lies under a request, so nothing is known of its clocks."
    : "vLLM's spans were not given (--otlp), so nothing is known of its clocks.";
  return {
    id: "clocks",
    title: "Clocks",
    body: html`<p class="dim">${proxy} An instance's offset is its clock less the proxy's: what it sends cannot begin before the proxy asked, nor end after the proxy had the answer.</p>${
      rows.length === 0
        ? html`<p>${none}</p>`
        : html`<div class="card">${table("Offsets to the proxy's clock", columns, cells)}</div>`
    }`,
  };
}

/** Which requests were seen, and what is missing of them. */
export function census(
  { statistics: { requests, spans, traces, strays }, source }: ReportData,
  options: PageOptions,
): Section {
  const causes = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .sort(([, a], [, b]) => b - a)
      .slice(0, 10)
      .map(([cause, count]) => `${formatCount(count)} ${short(cause, 40)}`)
      .join(", ");
  const rows: (readonly (string | Html)[])[] = [["seen", formatCount(requests.seen), causes(requests.outcomes)]];
  if (options.spansKnown)
    rows.push(
      ["complete", formatCount(requests.complete), "ended, with a vLLM span for each running state"],
      ["without prefill span", formatCount(requests.withoutPrefillSpan), causes(requests.withoutPrefillSpanBy)],
      ["without decode span", formatCount(requests.withoutDecodeSpan), causes(requests.withoutDecodeSpanBy)],
    );
  rows.push([
    "spans",
    formatCount(spans),
    `in ${formatCount(traces)} traces, ${formatCount(strays)} of them in no request`,
  ]);
  const damaged = source.damagedFiles.slice(0, 10);
  return {
    id: "census",
    title: "Census",
    body: html`${table("Requests, and what is missing of them", [{ title: "requests" }, number("count"), { title: "by outcome or cause" }], rows)}${
      options.spansKnown
        ? NOTHING
        : html`<p class="dim">vLLM's spans were not given (--otlp): which of them are missing cannot be said.</p>`
    }${
      requests.examples.length === 0 || !options.spansKnown
        ? NOTHING
        : html`<p>Ended well and yet lack a span, for example: ${new Html(
            requests.examples.map((id) => html`<code>${short(id, 80)}</code>`).join(", "),
          )}</p>`
    }${
      damaged.length === 0
        ? NOTHING
        : html`<p class="bad-text">Not read to the end:</p><ul>${damaged.map(({ path, reason }) => html`<li><code>${path}</code>: ${reason}</li>`)}</ul>`
    }`,
  };
}

/** What failed. */
export function failures({ failures: groups }: ReportData, options: PageOptions): Section {
  const columns = [
    { title: "outcome" },
    number("requests"),
    { title: "HTTP status, and what the log says" },
    { title: "for example", wide: true },
  ];
  const rows = groups
    .slice(0, MOST_ROWS)
    .map(({ outcome, message, count, examples }) => [
      short(outcome, 60),
      formatCount(count),
      message === "" ? html`<span class="dim">nothing</span>` : short(message, 300),
      html`<ul class="legend">${examples.map(
        ({ id, traceId, startMs, e2eMs, prefill, decode }) =>
          html`<li>${requestLink(id, traceId, options.jaeger)} <span class="dim">${moment(startMs)}, after ${duration(e2eMs)}${where(prefill, decode)}</span></li>`,
      )}</ul>`,
    ]);
  return {
    id: "failures",
    title: "Failures",
    body:
      rows.length === 0
        ? html`<p class="good-text">Every request ended well.</p>`
        : table("Requests that did not end well; N stands for a number", columns, rows),
  };
}

/** Every stage. */
export function stages({ statistics: { tables } }: ReportData): Section {
  const all = [...(tables[0]?.figures ?? []), ...(tables[0]?.stages ?? [])];
  const rows = all
    .slice(0, MOST_ROWS)
    .map(({ name: stage, count, mean, min, p50, p90, p95, p99, max, share }) => [
      short(stage, 60),
      formatCount(count),
      ...[mean, min, p50, p90, p95, p99, max].map(duration),
      share === undefined ? "" : `${(share * 100).toFixed(1)} %`,
    ]);
  const columns = [
    { title: "stage" },
    ...["count", "mean", "min", "p50", "p90", "p95", "p99", "max", "of end-to-end"].map(number),
  ];
  const more = all.length - rows.length;
  return {
    id: "stages",
    title: "All stages",
    body: html`${table("Figures, then stages in order", columns, rows)}${more > 0 ? html`<p class="dim">and ${more} more</p>` : NOTHING}`,
  };
}

function where(prefill: string, decode: string): string {
  const known = [prefill && `prefill ${short(prefill, 60)}`, decode && `decode ${short(decode, 60)}`].filter(Boolean);
  return known.length === 0 ? "" : `, ${known.join(", ")}`;
}

function signed(ms: number): string {
  return ms > 0 ? `+${duration(ms)}` : duration(ms).replace("-", "−");
}

function legend(entries: readonly (readonly [look: string, text: string])[]): Html {
  return html`<ul class="legend">${entries.map(
    ([look, text]) =>
      html`<li><svg aria-hidden="true" focusable="false"><rect class="${look}" width="100%" height="100%" rx="2"/></svg>${text}</li>`,
  )}</ul>`;
}
