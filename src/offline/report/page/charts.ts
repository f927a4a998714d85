/**
 * Charts as SVG without a view box: horizontal places are percentages, heights are pixels, so that a chart fills any
 * width and its text stays as large as it was. Every chart is a picture with a name; its numbers stand in a table beside it.
 */
import type { Bar } from "../log-histogram.ts";
import { Html, html, NOTHING } from "./html.ts";

const HEIGHT = 180;
/** Above the bars, and below them for the labels of the axis. */
const TOP = 14;
const BOTTOM = 22;
const FLOOR = HEIGHT - BOTTOM;
const ROOM = FLOOR - TOP;
/** Labels of one axis. */
const MOST_TICKS = 6;
/** Labels nearer to each other, percent of the width, are written as one. */
const LEAST_APART = 12;
/** The share of a slot that its bar fills. */
const FILL = 0.86;

/** A line across a histogram. */
export interface Marker {
  readonly name: string;
  readonly value: number;
}

/** A histogram on a logarithmic axis. `label` writes a value. */
export function histogram(
  bars: readonly Bar[],
  markers: readonly Marker[],
  name: string,
  label: (value: number) => string,
): Html {
  const [first, last] = [bars[0], bars.at(-1)];
  if (!first || !last) return NOTHING;
  const most = Math.max(...bars.map(({ count }) => count));
  const scale = (value: number): number =>
    clamp((100 * Math.log(value / first.from)) / Math.log(last.to / first.from), 0, 100);
  const slot = 100 / bars.length;
  const drawn = bars.map(({ count }, index) =>
    count === 0 ? NOTHING : bar(index * slot + (slot * (1 - FILL)) / 2, slot * FILL, 0, (ROOM * count) / most, "s2"),
  );
  const ticks = logTicks(first.from, last.to).map((value) => tick(scale(value), label(value)));
  const lines = markers.map(({ value }, index) => {
    const x = percent(scale(value));
    return html`<line class="mark m${index}" x1="${x}" x2="${x}" y1="${TOP - 2}" y2="${FLOOR}"/>`;
  });
  const names = together(markers.map(({ name: text, value }) => ({ text, x: scale(value) }))).map(({ text, x }) =>
    anchored(x, TOP - 4, text, "mark-label"),
  );
  return picture(
    name,
    html`${grid(most)}${drawn}${scaleLabels(most, (value) => String(Math.round(value)))}${ticks}${lines}${names}`,
  );
}

/** A slot of a stacked chart. */
export interface Stack {
  /** One value a series, in their order. */
  readonly values: readonly number[];
}

/** Stacked bars, one series on the other; `classes` names the colour of each. `starts` labels both ends and what lies between. */
export function stacked(
  stacks: readonly Stack[],
  classes: readonly string[],
  name: string,
  label: (value: number) => string,
  starts: (slot: number) => string,
): Html {
  const most = Math.max(...stacks.map(({ values }) => values.reduce((sum, value) => sum + value, 0)));
  if (!(most > 0)) return NOTHING;
  const slot = 100 / stacks.length;
  const width = stacks.length > 60 ? slot : slot * FILL;
  const drawn = stacks.flatMap(({ values }, index) => {
    let below = 0;
    return values.map((value, series) => {
      const height = (ROOM * value) / most;
      const from = below;
      below += height;
      return height < 0.05
        ? NOTHING
        : bar(index * slot + (slot - width) / 2, width, from, height, classes[series] ?? "");
    });
  });
  const ticks = evenly(stacks.length, 4).map((index) => tick((index + 0.5) * slot, starts(index)));
  return picture(name, html`${grid(most)}${drawn}${scaleLabels(most, label)}${ticks}`);
}

/** A strip in a table's cell: ranges and points on an axis from `from` to `to`. It repeats what the row says. */
export function strip(
  from: number,
  to: number,
  marks: readonly { readonly from: number; readonly to: number; readonly look: string }[],
): Html {
  const scale = (value: number): number => (to > from ? clamp((100 * (value - from)) / (to - from), 0, 100) : 0);
  const drawn = marks.map((mark) => {
    const x = Math.min(scale(mark.from), 99.4);
    const width = Math.max(0.6, scale(mark.to) - x);
    return html`<rect class="${mark.look}" x="${percent(x)}" y="2" width="${percent(width)}" height="10" rx="1"/>`;
  });
  return html`<svg class="strip" width="100%" height="14" aria-hidden="true" focusable="false"><line class="axis" x1="0" x2="100%" y1="13.5" y2="13.5"/>${drawn}</svg>`;
}

/** Round values (1, 2, 5 times a power of ten) between two, few enough to be labelled. */
export function logTicks(from: number, to: number): number[] {
  if (!(from > 0) || !(to > from) || !Number.isFinite(to)) return [];
  const all = (steps: readonly number[]): number[] => {
    const out: number[] = [];
    for (let power = Math.floor(Math.log10(from)); power <= Math.ceil(Math.log10(to)); power++)
      for (const step of steps) {
        const value = Number(`${step}e${power}`);
        if (value >= from && value <= to) out.push(value);
      }
    return out;
  };
  const fine = all([1, 2, 5]);
  if (fine.length <= MOST_TICKS) return fine;
  const coarse = all([1]);
  const every = Math.ceil(coarse.length / MOST_TICKS);
  return coarse.filter((_, index) => index % every === 0);
}

/** A round number not far below `most / 2`, and its multiples up to `most`. */
export function linearTicks(most: number): number[] {
  if (!(most > 0) || !Number.isFinite(most)) return [];
  const power = 10 ** Math.floor(Math.log10(most / 2));
  const step = [5, 2, 1].map((factor) => factor * power).find((value) => value <= most / 2) ?? power;
  const out: number[] = [];
  for (let value = step; value <= most && out.length < 4; value += step) out.push(value);
  return out;
}

function picture(name: string, content: Html): Html {
  return html`<svg class="chart" role="img" aria-label="${name}" width="100%" height="${HEIGHT}">${content}<line class="axis" x1="0" x2="100%" y1="${FLOOR}" y2="${FLOOR}"/></svg>`;
}

function bar(x: number, width: number, from: number, height: number, look: string): Html {
  return html`<rect class="${look}" x="${percent(x)}" y="${round(FLOOR - from - height)}" width="${percent(width)}" height="${round(height)}"/>`;
}

function grid(most: number): Html {
  return html`${linearTicks(most).map((value) => {
    const y = round(FLOOR - (ROOM * value) / most);
    return html`<line class="grid" x1="0" x2="100%" y1="${y}" y2="${y}"/>`;
  })}`;
}

/** What the lines of `grid` stand for. */
function scaleLabels(most: number, label: (value: number) => string): Html {
  return html`${linearTicks(most).map(
    (value) => html`<text class="y-label" x="2" y="${round(FLOOR - (ROOM * value) / most) - 3}">${label(value)}</text>`,
  )}`;
}

/** Labels that would stand on one another, as one. */
function together(labels: readonly { readonly text: string; readonly x: number }[]): { text: string; x: number }[] {
  const out: { text: string; x: number; last: number }[] = [];
  for (const { text, x } of labels) {
    const before = out.at(-1);
    if (before && x - before.last < LEAST_APART) {
      before.text += ` ${text}`;
      before.x = (before.x + x) / 2;
      before.last = x;
    } else out.push({ text, x, last: x });
  }
  return out;
}

function tick(x: number, text: string): Html {
  return html`<line class="axis" x1="${percent(x)}" x2="${percent(x)}" y1="${FLOOR}" y2="${FLOOR + 4}"/>${anchored(x, HEIGHT - 5, text, "x-label")}`;
}

/** Text at a place, kept inside the picture. */
function anchored(x: number, y: number, text: string, look: string): Html {
  const anchor = x < 8 ? "start" : x > 92 ? "end" : "middle";
  return html`<text class="${look}" x="${percent(x)}" y="${y}" text-anchor="${anchor}">${text}</text>`;
}

/** About `count` indexes of `length`, evenly spread. */
function evenly(length: number, count: number): number[] {
  const steps = Math.min(length, count);
  return Array.from({ length: steps }, (_, index) =>
    steps === 1 ? 0 : Math.round((index * (length - 1)) / (steps - 1)),
  );
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, Number.isFinite(value) ? value : least));
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function percent(value: number): Html {
  return new Html(`${round(value)}%`);
}
