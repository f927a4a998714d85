import { type Command, InvalidArgumentError, Option } from "commander";
import { parseDuration } from "../config/duration.ts";
import type { Finding } from "../doctor/finding.ts";
import { buildInfo, oldestNode } from "./build-info.ts";
import { builtInConfig } from "./defaults.ts";
import type { Edge } from "./edge.ts";
import { wholeNumber } from "./offline.ts";
import { addConfigOptions, allOptions, type ConfigOptions } from "./options.ts";

interface Options extends ConfigOptions {
  readonly vllm: readonly string[];
  readonly jaegerQuery: string;
  readonly last: number;
  readonly timeout: number;
  readonly json: boolean;
}

const EXIT_CODES = `
Exit codes:
  0  nothing has to be changed
  1  something has to be changed, or the command line makes no sense`;

/** `omnishim doctor`: see docs/doctor.md. */
export function addDoctor(program: Command, edge: Edge, setCode: (code: number) => void): void {
  addConfigOptions(program.command("doctor"))
    .summary("find what is wrong around a configuration: ports, TLS, Jaeger, logs, request ids, clocks, disk")
    .description(
      "Looks at what the configuration names and says what is wrong, with the line to change. It works beside a running omnishim and before one is started. Through each OTLP exporter of traces it sends one span, of the service omnishim-doctor; all else is only looked at.",
    )
    .option(
      "--vllm <host>",
      "vLLM runs on this host; can be repeated (the proxy's log names its upstreams too)",
      collect,
      [],
    )
    .option("--jaeger-query <url>", "Jaeger's UI, such as http://localhost:16686: look the span up there", "")
    .option("--last <n>", "look at the last n requests of each log", wholeNumber(1), 100)
    .addOption(
      new Option("--timeout <duration>", "for each connection and request").argParser(milliseconds).default(5000, "5s"),
    )
    .option("--json", "print the findings as JSON", false)
    .addHelpText("after", EXIT_CODES)
    .action(async (_, self: Command) => setCode(await doctor(allOptions<Options>(self), edge)));
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

function milliseconds(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms <= 0) throw new InvalidArgumentError("Write a duration such as 5s.");
  return ms;
}

/** @throws CommandError when the command line makes no sense */
async function doctor(options: Options, edge: Edge): Promise<number> {
  const [{ needsAction }, { findingOf, findingOfProblem, reportText }] = await Promise.all([
    import("../doctor/finding.ts"),
    import("../doctor/report.ts"),
  ]);
  const findings = await find(options, edge, findingOf, findingOfProblem);
  const code = findings.some(needsAction) ? 1 : 0;
  edge.stdout.write(
    options.json ? `${JSON.stringify({ ok: code === 0, findings }, undefined, 2)}\n` : reportText(findings),
  );
  return code;
}

async function find(
  options: Options,
  edge: Edge,
  findingOf: typeof import("../doctor/report.ts").findingOf,
  findingOfProblem: typeof import("../doctor/report.ts").findingOfProblem,
): Promise<Finding[]> {
  const [{ readConfig }, { examine }, { fetchTrace }] = await Promise.all([
    import("./load.ts"),
    import("../doctor/examine.ts"),
    import("../offline/jaeger/client.ts"),
  ]);
  const { plan, root, problems, warnings } = await readConfig(options, edge, builtInConfig(edge.env).source);
  if (!plan) return problems.map(findingOfProblem);
  const drafts = await examine({
    plan,
    root,
    build: buildInfo,
    oldestNode,
    vllm: options.vllm,
    queryUrl: options.jaegerQuery,
    timeoutMs: options.timeout,
    lastRequests: options.last,
    folder: process.cwd(),
    hasTrace: async (url, traceId) =>
      (await fetchTrace({ url, headers: {}, timeoutMs: options.timeout }, traceId)) !== undefined,
  });
  const noted = warnings.map((found): Finding => ({ check: "configuration", severity: "note", found }));
  return [...noted, ...drafts.map((draft) => findingOf(draft, root))];
}
