import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NO_PROGRESS } from "../../src/offline/reading.ts";
import { report } from "../../src/offline/report/report.ts";
import { BrowserPage, findChromium } from "../kit/browser.ts";
import { Workplace } from "../kit/offline.ts";

const chromium = findChromium();
if (chromium === undefined)
  console.log("Chromium: not in PATH and not named by CHROMIUM, so the report's page is not opened");

/** Where screenshots are kept to be looked at. */
const kept = process.env["SCREENSHOTS"];

/** Every piece of text and its contrast to what lies behind it, as WCAG 2 defines it; SVG text goes by its fill. */
const CONTRASTS = `(() => {
  const rgb = (text) => (/rgba?\\(([^)]+)\\)/.exec(text)?.[1] ?? "0,0,0,0").split(",").map(Number);
  const light = (color) => {
    const [r, g, b] = color.map((value) => { const v = value / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color[3] === undefined || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const out = [];
  for (const element of document.querySelectorAll("body *")) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "")) continue;
    const style = getComputedStyle(element);
    const color = rgb(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(color), light(behind(element))];
    out.push({ text: element.textContent.slice(0, 40), contrast: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) });
  }
  return out;
})()`;

/** What has the focus, and whether one can see it. */
const FOCUS = `(() => {
  const { activeElement: at } = document;
  const box = at.getBoundingClientRect();
  return { tag: at.tagName, text: at.textContent.slice(0, 30), index: [...document.querySelectorAll("*")].indexOf(at),
    outline: getComputedStyle(at).outlineStyle, seen: box.right > 0 && box.bottom > 0 && box.width > 0 };
})()`;

interface Focus {
  readonly tag: string;
  readonly text: string;
  readonly index: number;
  readonly outline: string;
  readonly seen: boolean;
}

describe.skipIf(chromium === undefined)("the page of omnishim report in Chromium", () => {
  let place: Workplace;
  let page: BrowserPage;
  let url: string;

  beforeAll(async () => {
    place = new Workplace();
    const out = place.at("report.html");
    await report(
      {
        source: place.logs("proxy-vllm/grpc"),
        reading: {
          otlp: [place.recording("proxy-vllm/grpc")],
          timezone: "auto",
          service: "omni-proxy",
          fromMs: 0,
          toMs: 0,
          limit: 0,
          headers: {},
          merge: {},
        },
        sinceMs: undefined,
        untilMs: undefined,
        top: 20,
        by: "end-to-end",
        out,
        jaeger: "http://localhost:16686",
        generator: "omnishim",
        title: "Requests of Omni Proxy: proxy-vllm/grpc",
      },
      NO_PROGRESS,
    );
    url = pathToFileURL(out).href;
    page = await BrowserPage.open(chromium ?? "");
  });
  afterAll(async () => {
    await page?.close();
    place?.remove();
  });

  it.each([
    [360, "light"],
    [360, "dark"],
    [1400, "light"],
    [1400, "dark"],
  ] as const)(
    "the page fits %i pixels and can be read in %s, without a complaint and without a request",
    async (width, scheme) => {
      page.requests.length = 0;
      await page.look(width, 900, scheme);
      await page.goto(url);
      expect(await page.value<number>("document.documentElement.scrollWidth")).toBe(width);
      const texts = await page.value<{ text: string; contrast: number }[]>(CONTRASTS);
      expect(texts.length).toBeGreaterThan(500);
      expect(texts.filter(({ contrast }) => contrast < 4.5)).toEqual([]);
      const background = await page.value<string>("getComputedStyle(document.body).backgroundColor");
      expect(background).toBe(scheme === "light" ? "rgb(255, 255, 255)" : "rgb(20, 23, 27)");
      const picture = await page.screenshot();
      expect(picture.readUInt32BE(16)).toBe(width);
      expect(picture.readUInt32BE(20)).toBe(await page.value<number>("document.documentElement.scrollHeight"));
      if (kept !== undefined) {
        mkdirSync(kept, { recursive: true });
        writeFileSync(join(kept, `report-${width}-${scheme}.png`), picture);
      }
      expect(page.requests).toEqual([url]);
      expect(page.complaints).toEqual([]);
    },
  );

  it("the page's charts have bars, and none of them is outside its chart", async () => {
    await page.look(1400, 900, "light");
    await page.goto(url);
    const charts = await page.value<
      { bars: number; outside: number }[]
    >(`[...document.querySelectorAll("svg.chart, svg.strip")]
      .filter((svg) => svg.getBoundingClientRect().width > 0).map((svg) => {
        const box = svg.getBoundingClientRect();
        const bars = [...svg.querySelectorAll("rect")].map((rect) => rect.getBoundingClientRect());
        const outside = bars.filter((bar) => bar.left < box.left - 1 || bar.right > box.right + 1 || bar.top < box.top - 1 || bar.bottom > box.bottom + 1);
        return { bars: bars.length, outside: outside.length };
      })`);
    expect(charts.length).toBeGreaterThan(20);
    for (const chart of charts) {
      expect(chart.bars).toBeGreaterThan(0);
      expect(chart.outside).toBe(0);
    }
  });

  it("the page is used by keyboard: everything that opens can be reached, seen and opened", async () => {
    await page.look(1400, 900, "light");
    await page.goto(url);
    await page.press("Tab");
    expect(await page.value<Focus>(FOCUS)).toMatchObject({ tag: "A", text: "Skip to the content", seen: true });
    await page.press("Enter");
    expect(await page.value<string>("location.hash")).toBe("#main");
    const reached: Focus[] = [];
    for (let at = 0; at < 300; at++) {
      await page.press("Tab");
      const focus = await page.value<Focus>(FOCUS);
      if (focus.tag === "BODY") break;
      reached.push(focus);
    }
    expect(reached.filter(({ outline, seen }) => outline === "none" || !seen)).toEqual([]);
    const summaries = await page.value<number>(`document.querySelectorAll("summary").length`);
    expect(summaries).toBeGreaterThan(20);
    expect(reached.filter(({ tag }) => tag === "SUMMARY")).toHaveLength(summaries);
    expect(reached.some(({ tag }) => tag === "DIV")).toBe(true); // tables that scroll
    // A closed one opens.
    await page.value(`document.querySelector("#slowest details:not([open]) summary").focus()`);
    const open = `document.activeElement.parentElement.open`;
    expect(await page.value<boolean>(open)).toBe(false);
    await page.press("Enter");
    expect(await page.value<boolean>(open)).toBe(true);
    expect(page.complaints).toEqual([]);
  });

  it("the page's policy keeps scripts and requests out, whatever got into it", async () => {
    page.requests.length = 0;
    const evil = place.write(
      "evil.html",
      place
        .read("report.html")
        .replace(
          "</main>",
          '<script>document.title="run"</script><img src="http://127.0.0.1:9/x.png"><p id="styled" style="color:red">x</p></main>',
        ),
    );
    const seen = page.complaints.length;
    await page.goto(pathToFileURL(evil).href);
    expect(await page.value<string>("document.title")).toContain("Requests of Omni Proxy");
    expect(await page.value<string>(`getComputedStyle(document.getElementById("styled")).color`)).not.toBe(
      "rgb(255, 0, 0)",
    );
    expect(page.complaints.length).toBeGreaterThan(seen); // so a complaint would have been seen above
    page.complaints.length = 0;
  });
});
