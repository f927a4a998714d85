import { type Command, Option } from "commander";
import type { Grouping } from "../offline/stats/collector.ts";
import { buildInfo } from "./build-info.ts";
import { CommandError, type Edge } from "./edge.ts";
import { EXIT_CODES, header, offline, progressOf, wholeNumber } from "./offline.ts";

interface Options {
  readonly by?: Grouping;
  readonly host?: string;
  readonly service?: string;
  readonly operation?: string;
  readonly lookbackMinutes: number;
  readonly limit: number;
  readonly header: Readonly<Record<string, string>>;
  readonly otlp: readonly string[];
  readonly since?: string;
  readonly until?: string;
  readonly timezone: string;
  readonly csv: boolean;
  readonly output?: string;
  readonly json: boolean;
}

/** What is asked for in Jaeger without --service: every trace of the shim has a span of it. */
const SHIM_SERVICE = "omni-proxy";

/** `omnishim stats SOURCE`: see docs/offline.md. */
export function addStats(program: Command, edge: Edge, setCode: (code: number) => void): void {
  program
    .command("stats")
    .summary("what the stages of requests took: from logs, recorded OTLP or Jaeger")
    .description(
      "Statistics of every stage and figure (TTFT, TPOT, prefill, decode, queue, KV wait), and which requests lack spans of vLLM. SOURCE is a folder with logs, a file of recorded OTLP or of Jaeger's UI, or the address of Jaeger's UI.",
    )
    .argument("[source]", "logs, recording, or http://HOST:16686")
    .addOption(new Option("--by <what>", "a table for each").choices(["role", "host", "upstream", "policy", "outcome"]))
    .option(
      "--service <name>",
      `only spans of this service; in Jaeger, traces of this service (default: all; ${SHIM_SERVICE})`,
    )
    .option("--operation <name>", "list the shortest and longest spans of this name too")
    .option("--csv", "operation,count,avg_ms,min_ms,max_ms,p50_ms,p90_ms,p95_ms,p99_ms instead of tables", false)
    .option("--output <file>", "write the CSV there; implies --csv")
    .option("--host <url>", "address of Jaeger's UI, in place of SOURCE")
    .option("--lookback-minutes <n>", "Jaeger: traces of the last n minutes", wholeNumber(1), 60)
    .option("--limit <n>", "Jaeger: at most n traces, the newest; 0 for all", wholeNumber(0), 1000)
    .option("--header <name=value>", "Jaeger: send this header; can be repeated", header, {})
    .option("--otlp <files...>", "logs: merge recorded spans in", [])
    .option("--since <time>", 'only what starts from then on: "2026-11-22 04:30", unix seconds, or 15m (ago)')
    .option("--until <time>", "only what starts before")
    .option("--timezone <zone>", "logs: of nginx's times: auto, Local, a name or +08:00", "auto")
    .option("--json", "print everything as JSON", false)
    .addHelpText("after", EXIT_CODES)
    .action(async (source: string | undefined, options: Options) =>
      setCode(await offline(edge, () => run(source, options, edge))),
    );
}

async function run(given: string | undefined, options: Options, edge: Edge): Promise<number> {
  const source = given ?? options.host;
  if (source === undefined)
    throw new CommandError(
      "nothing to read: give a folder with logs, a file, or Jaeger's address as http://HOST:16686",
    );
  if (given !== undefined && options.host !== undefined)
    throw new CommandError("--host is another way to give SOURCE: leave one of them out");
  const [{ stats }, { describeExtremes, describeStatistics }, { parseWhen }, { REPLAY_SETTINGS }] = await Promise.all([
    import("../offline/stats/stats.ts"),
    import("../offline/stats/text.ts"),
    import("../offline/when.ts"),
    import("../offline/replay.ts"),
  ]);
  const nowMs = Date.now();
  const sinceMs = options.since === undefined ? undefined : parseWhen(options.since, nowMs, "--since");
  const untilMs = options.until === undefined ? undefined : parseWhen(options.until, nowMs, "--until");
  const report = await stats(
    {
      source,
      reading: {
        otlp: options.otlp,
        timezone: options.timezone,
        service: options.service ?? SHIM_SERVICE,
        fromMs: sinceMs ?? (untilMs ?? nowMs) - options.lookbackMinutes * 60_000,
        toMs: untilMs ?? nowMs,
        limit: options.limit,
        headers: options.header,
        merge: { names: { ...REPLAY_SETTINGS.names, version: buildInfo.version } },
      },
      by: options.by,
      // Jaeger was asked for this service's traces; their other spans are what one wants to see.
      service: /^https?:/i.test(source) ? undefined : options.service,
      sinceMs,
      untilMs,
      csv: options.csv || options.output !== undefined,
      output: options.output,
      operation: options.operation,
    },
    progressOf(edge),
    edge.stop,
  );
  const { statistics, csv, extremes } = report;
  const spansKnown = report.source.kind !== "logs" || options.otlp.length > 0;
  if (options.json) edge.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  else {
    if (csv !== undefined) edge.stdout.write(csv);
    if (statistics) edge.stdout.write(`${describeStatistics(statistics, options.by, spansKnown)}\n`);
    if (extremes) edge.stdout.write(`${describeExtremes(options.operation ?? "", extremes)}\n`);
    if (options.output !== undefined) edge.stderr.write(`${options.output}: written\n`);
  }
  return 0;
}
