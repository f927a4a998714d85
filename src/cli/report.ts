import { type Command, InvalidArgumentError, Option } from "commander";
import type { FigureName } from "../offline/stats/request-facts.ts";
import { buildInfo } from "./build-info.ts";
import { CommandError, type Edge } from "./edge.ts";
import { EXIT_CODES, header, offline, progressOf, wholeNumber } from "./offline.ts";

interface Options {
  readonly otlp: readonly string[];
  readonly top: number;
  readonly by: keyof typeof FIGURE_OF;
  readonly title?: string;
  readonly jaeger?: string;
  readonly service: string;
  readonly lookbackMinutes: number;
  readonly limit: number;
  readonly header: Readonly<Record<string, string>>;
  readonly since?: string;
  readonly until?: string;
  readonly timezone: string;
  readonly json: boolean;
}

/** What `convert --by` calls the figures. */
const FIGURE_OF = {
  e2e: "end-to-end",
  ttft: "TTFT",
  tpot: "TPOT",
  prefill: "prefill",
  decode: "decode",
  queue: "queue",
} as const satisfies Record<string, FigureName>;

const DEFAULT_TOP = 20;
/** More waterfalls make a page that nobody reads, and a large one. */
const MOST_TOP = 500;

/** `omnishim report SOURCE OUT.html`: see docs/offline.md. */
export function addReport(program: Command, edge: Edge, setCode: (code: number) => void): void {
  program
    .command("report")
    .summary("one HTML page about all requests: latency, stages over time, slowest requests, instances, clocks")
    .description(
      "Writes one self-contained page: distributions of TTFT, TPOT and end-to-end time, stages over time, the slowest requests with waterfalls, instances and clocks compared, census and failures. SOURCE is as for stats.",
    )
    .argument("<source>", "folder with logs, recorded OTLP, or http://HOST:16686")
    .argument("[out]", "page to write; may be left out with --json")
    .option("--top <n>", "how many of the slowest requests are shown", top, DEFAULT_TOP)
    .addOption(
      new Option("--by <figure>", "by what they are the slowest").choices(Object.keys(FIGURE_OF)).default("e2e"),
    )
    .option("--title <text>", "of the page")
    .option("--jaeger <url>", "requests link to this Jaeger's UI (default: SOURCE, where that is one)", webAddress)
    .option("--otlp <files...>", "logs: merge recorded spans in", [])
    .option("--service <name>", "Jaeger: traces of this service", "omni-proxy")
    .option("--lookback-minutes <n>", "Jaeger: traces of the last n minutes", wholeNumber(1), 60)
    .option("--limit <n>", "Jaeger: at most n traces, the newest; 0 for all", wholeNumber(0), 1000)
    .option("--header <name=value>", "Jaeger: send this header; can be repeated", header, {})
    .option("--since <time>", 'only requests that start from then on: "2026-11-22 04:30", unix seconds, or 15m (ago)')
    .option("--until <time>", "only requests that start before")
    .option("--timezone <zone>", "logs: of nginx's times: auto, Local, a name or +08:00", "auto")
    .option("--json", "print what the page shows as JSON", false)
    .addHelpText("after", EXIT_CODES)
    .action(async (source: string, out: string | undefined, options: Options) =>
      setCode(await offline(edge, () => run(source, out, options, edge))),
    );
}

async function run(source: string, out: string | undefined, options: Options, edge: Edge): Promise<number> {
  if (out === undefined && !options.json) throw new CommandError("nowhere to write to: give OUT.html, or --json");
  const [{ report }, { describeReport }, { parseWhen }, { REPLAY_SETTINGS }] = await Promise.all([
    import("../offline/report/report.ts"),
    import("../offline/report/text.ts"),
    import("../offline/when.ts"),
    import("../offline/replay.ts"),
  ]);
  const nowMs = Date.now();
  const sinceMs = options.since === undefined ? undefined : parseWhen(options.since, nowMs, "--since");
  const untilMs = options.until === undefined ? undefined : parseWhen(options.until, nowMs, "--until");
  const { command, version } = buildInfo;
  const data = await report(
    {
      source,
      reading: {
        otlp: options.otlp,
        timezone: options.timezone,
        service: options.service,
        fromMs: sinceMs ?? (untilMs ?? nowMs) - options.lookbackMinutes * 60_000,
        toMs: untilMs ?? nowMs,
        limit: options.limit,
        headers: options.header,
        merge: { names: { ...REPLAY_SETTINGS.names, version } },
      },
      sinceMs,
      untilMs,
      top: options.top,
      by: FIGURE_OF[options.by],
      out,
      jaeger: options.jaeger ?? (/^https?:/i.test(source) ? source : undefined),
      generator: `${command} ${version}`,
      title: options.title ?? `Requests of Omni Proxy: ${source}`,
    },
    progressOf(edge),
    edge.stop,
  );
  edge.stdout.write(`${options.json ? JSON.stringify(data, undefined, 2) : describeReport(data, out ?? "")}\n`);
  return 0;
}

function top(text: string): number {
  const count = wholeNumber(0)(text);
  if (count > MOST_TOP) throw new InvalidArgumentError(`Write at most ${MOST_TOP}.`);
  return count;
}

function webAddress(text: string): string {
  if (!/^https?:\/\/[^\s/]/i.test(text)) throw new InvalidArgumentError("Write it as http://HOST:16686.");
  return text;
}
