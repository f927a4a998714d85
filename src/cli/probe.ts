import { type Command, InvalidArgumentError, Option } from "commander";
import type { ProbeProgress } from "../offline/probe/probe.ts";
import { EXIT } from "../offline/problem.ts";
import type { Edge } from "./edge.ts";
import { header, offline, wholeNumber } from "./offline.ts";

interface Options {
  readonly url: string;
  readonly model: string;
  readonly rps: number;
  readonly numPrompts?: number;
  readonly num_prompts?: number;
  readonly maxTokens?: number;
  readonly max_tokens?: number;
  readonly prompt: string;
  readonly header: Readonly<Record<string, string>>;
  readonly timeout: number;
  readonly traces?: string;
  readonly traceHeader: Readonly<Record<string, string>>;
  readonly traceWait: number;
  readonly json: boolean;
}

const DEFAULT_PROMPTS = 5;
const DEFAULT_MAX_TOKENS = 20;
/** More is a load test, which this is not. */
const MOST_PROMPTS = 10_000;

const HELP = `
Exit codes:
  ${EXIT.ok}  every request was answered, and is one complete trace where --traces says where to look
  ${EXIT.failed}  a request failed, a trace is missing or incomplete, or the command line makes no sense
  130, 143  interrupted (SIGINT, SIGTERM)`;

/** `omnishim probe --url URL --model M`: see docs/collect.md. */
export function addProbe(program: Command, edge: Edge, setCode: (code: number) => void): void {
  const underscored = (flags: string, parse: (text: string) => number): Option =>
    new Option(flags).argParser(parse).hideHelp();
  program
    .command("probe")
    .summary("send a few requests through the proxy, and see that each becomes one whole trace")
    .description(
      "Sends streaming chat completions, each with a traceparent and an X-Request-Id of its own, measures TTFT, TPOT and end-to-end as a client sees them, and looks whether each became one complete trace.",
    )
    .requiredOption("--url <url>", "the proxy's API, http://HOST:PORT/v1")
    .requiredOption("--model <name>", "the model, as vLLM serves it")
    .option("--rps <n>", "requests a second, such as 0.5; they do not wait for each other", rate, 1)
    .option("--num-prompts <n>", `requests; --num_prompts is the same (default: ${DEFAULT_PROMPTS})`, prompts)
    .addOption(underscored("--num_prompts <n>", prompts))
    .option(
      "--max-tokens <n>",
      `of each answer; --max_tokens is the same (default: ${DEFAULT_MAX_TOKENS})`,
      wholeNumber(1),
    )
    .addOption(underscored("--max_tokens <n>", wholeNumber(1)))
    .option("--prompt <text>", "what is asked", "Count from one to fifty in words.")
    .option("--header <name=value>", "send this header with each request; can be repeated", header, {})
    .option("--timeout <seconds>", "a whole answer within", wholeNumber(1), 120)
    .option("--traces <where>", "Jaeger's address, http://HOST:16686, or the file that the file exporter writes")
    .option("--trace-header <name=value>", "send this header to Jaeger; can be repeated", header, {})
    .option("--trace-wait <seconds>", "wait for traces so long after the last answer", wholeNumber(0), 30)
    .option("--json", "print the report as JSON", false)
    .addHelpText("after", HELP)
    .action(async (options: Options) =>
      setCode(await offline(edge, () => run(options, edge), "Interrupted: requests on their way were given up")),
    );
}

async function run(options: Options, edge: Edge): Promise<number> {
  const [{ probe }, { describeProbe }] = await Promise.all([
    import("../offline/probe/probe.ts"),
    import("../offline/probe/text.ts"),
  ]);
  const report = await probe(
    {
      url: options.url,
      model: options.model,
      rps: options.rps,
      prompts: options.numPrompts ?? options.num_prompts ?? DEFAULT_PROMPTS,
      maxTokens: options.maxTokens ?? options.max_tokens ?? DEFAULT_MAX_TOKENS,
      prompt: options.prompt,
      headers: options.header,
      timeoutMs: options.timeout * 1000,
      traces: options.traces,
      traceHeaders: options.traceHeader,
      traceWaitMs: options.traceWait * 1000,
    },
    progressOf(edge),
    edge.stop,
  );
  edge.stdout.write(`${options.json ? JSON.stringify(report, undefined, 2) : describeProbe(report)}\n`);
  return report.failed + report.untraced > 0 ? EXIT.failed : EXIT.ok;
}

function progressOf({ stderr }: Edge): ProbeProgress {
  if (stderr.isTTY !== true) return { show: () => undefined, clear: () => undefined };
  return {
    show: (text) => void stderr.write(`\r${text}\u001b[K`),
    clear: () => void stderr.write("\r\u001b[K"),
  };
}

function prompts(text: string): number {
  const value = wholeNumber(1)(text);
  if (value > MOST_PROMPTS) throw new InvalidArgumentError(`Write at most ${MOST_PROMPTS}.`);
  return value;
}

function rate(text: string): number {
  const value = /^\d{1,4}(?:\.\d{1,6})?$/.test(text) ? Number(text) : 0;
  if (!(value > 0)) throw new InvalidArgumentError("Write a number above 0, such as 1 or 0.5.");
  return value;
}
