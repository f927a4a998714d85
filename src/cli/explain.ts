import type { Command } from "commander";
import { terminalOptions } from "../omni/terminal.ts";
import { buildInfo } from "./build-info.ts";
import type { Edge } from "./edge.ts";
import { EXIT_CODES, header, offline, progressOf, wholeNumber } from "./offline.ts";

interface Options {
  readonly otlp: readonly string[];
  readonly service: string;
  readonly lookbackMinutes: number;
  readonly limit: number;
  readonly header: Readonly<Record<string, string>>;
  readonly timezone: string;
  readonly json: boolean;
}

/** `omnishim explain REQUEST_ID SOURCE`: see docs/offline.md. */
export function addExplain(program: Command, edge: Edge, setCode: (code: number) => void): void {
  program
    .command("explain")
    .summary("everything about one request: its spans, why they are there, what is missing, its log lines")
    .description(
      "Shows one request: its spans, which rule joined each, what is missing and why, where its time went against the median of the others, and its log lines.",
    )
    .argument("<request-id>", "its X-Request-Id, or its trace id")
    .argument("<source>", "folder with logs, recorded OTLP, or http://HOST:16686")
    .option("--otlp <files...>", "logs: merge recorded spans in", [])
    .option("--service <name>", "Jaeger: whose traces to look through", "omni-proxy")
    .option("--lookback-minutes <n>", "Jaeger: look through the last n minutes", wholeNumber(1), 60)
    .option("--limit <n>", "Jaeger: look through at most n traces, the newest; 0 for all", wholeNumber(0), 1000)
    .option("--header <name=value>", "Jaeger: send this header; can be repeated", header, {})
    .option("--timezone <zone>", "logs: of nginx's times: auto, Local, a name or +08:00", "auto")
    .option("--json", "print everything as JSON", false)
    .addHelpText("after", EXIT_CODES)
    .action(async (id: string, source: string, options: Options) =>
      setCode(await offline(edge, () => run(id, source, options, edge))),
    );
}

async function run(id: string, source: string, options: Options, edge: Edge): Promise<number> {
  const [{ explain }, { describeExplanation }, { REPLAY_SETTINGS }] = await Promise.all([
    import("../offline/explain/explain.ts"),
    import("../offline/explain/text.ts"),
    import("../offline/replay.ts"),
  ]);
  const nowMs = Date.now();
  const report = await explain(
    id,
    source,
    {
      otlp: options.otlp,
      timezone: options.timezone,
      service: options.service,
      fromMs: nowMs - options.lookbackMinutes * 60_000,
      toMs: nowMs,
      limit: options.limit,
      headers: options.header,
      merge: { names: { ...REPLAY_SETTINGS.names, version: buildInfo.version } },
    },
    progressOf(edge),
    edge.stop,
  );
  edge.stdout.write(
    options.json
      ? `${JSON.stringify(report, (_, value) => (typeof value === "bigint" ? String(value) : value), 2)}\n`
      : describeExplanation(report, { ...terminalOptions(edge.stdout, edge.env), cut: edge.stdout.isTTY === true }),
  );
  return 0;
}
