import { type Command, InvalidArgumentError, Option } from "commander";
import type { ConvertFormat } from "../offline/convert.ts";
import { UI_UPLOAD_BYTES } from "../offline/output/limits.ts";
import type { Rank } from "../offline/select.ts";
import { buildInfo } from "./build-info.ts";
import type { Edge } from "./edge.ts";
import { EXIT_CODES, header, offline, progressOf, wholeNumber } from "./offline.ts";

interface Options {
  readonly format: ConvertFormat;
  readonly endpoint?: string;
  readonly header: Readonly<Record<string, string>>;
  readonly otlp: readonly string[];
  readonly skipReqNum?: number;
  readonly skipReq_num?: number;
  readonly filterReqids?: string;
  readonly selectReqids?: string;
  readonly since?: string;
  readonly until?: string;
  readonly top?: number;
  readonly by: Rank;
  readonly compat: boolean;
  readonly timezone: string;
  readonly maxFileSize: number;
  readonly json: boolean;
}

const DEFAULT_SKIP = 1;

/** `omnishim convert LOGS [OUT]`: see docs/offline.md. */
export function addConvert(program: Command, edge: Edge, setCode: (code: number) => void): void {
  program
    .command("convert")
    .summary("make traces of logs: a file for Jaeger's UI, OTLP, or straight to an endpoint")
    .description(
      "Makes a trace of every request in Omni Proxy's logs (error log, access log) and vLLM's omnilogger files, with the ids that the live shim gives it, and average and percentile traces over all of them.",
    )
    .argument("<logs>", "folder with logs, rotated and gzip files included; or one log")
    .argument("[out]", "file to write; more than one where it grows too large for Jaeger's UI")
    .addOption(
      new Option("--format <format>", "of OUT").choices(["jaeger", "otlp-json", "otlp-proto"]).default("jaeger"),
    )
    .option("--endpoint <url>", "send to this OTLP/HTTP endpoint, such as http://jaeger:4318; OUT may be left out then")
    .option("--header <name=value>", "send this header with it; can be repeated", header, {})
    .option("--otlp <files...>", "merge recorded spans in (what the file exporter writes)", [])
    .option(
      "--skip-req-num <n>",
      `leave n requests out of the statistics at either end; --skip-req_num is the same (default: ${DEFAULT_SKIP})`,
      wholeNumber(0),
    )
    .addOption(new Option("--skip-req_num <n>").argParser(wholeNumber(0)).hideHelp())
    .option(
      "--select-reqids <a,b>",
      "only these requests (or trace ids) get a trace; statistics stay over all; --filter-reqids is the same",
    )
    .addOption(new Option("--filter-reqids <a,b>").hideHelp())
    .option("--since <time>", 'only requests that start from then on: "2026-11-22 04:30", unix seconds, or 15m (ago)')
    .option("--until <time>", "only requests that start before")
    .option("--top <n>", "only the n requests with the largest figure get a trace", wholeNumber(1))
    .addOption(
      new Option("--by <figure>", "the figure of --top")
        .choices(["e2e", "ttft", "tpot", "prefill", "decode", "queue"])
        .default("e2e"),
    )
    .option("--compat", "log_to_jaeger.py's layout instead: its 45 spans, names, services and tags", false)
    .option("--timezone <zone>", "of nginx's times: auto, Local, a name or +08:00", "auto")
    .option("--max-file-size <bytes>", "split Jaeger files beyond this; 0 never (20MiB, 500kB)", size, UI_UPLOAD_BYTES)
    .option("--json", "print the report as JSON", false)
    .addHelpText("after", EXIT_CODES)
    .action(async (logs: string, out: string | undefined, options: Options) =>
      setCode(await offline(edge, () => run(logs, out, options, edge))),
    );
}

async function run(logs: string, out: string | undefined, options: Options, edge: Edge): Promise<number> {
  const [{ convert }, { describeConversion }, { parseIds }, { parseWhen }, { REPLAY_SETTINGS }] = await Promise.all([
    import("../offline/convert.ts"),
    import("../offline/convert-text.ts"),
    import("../offline/select.ts"),
    import("../offline/when.ts"),
    import("../offline/replay.ts"),
  ]);
  const nowMs = Date.now();
  const ids = options.selectReqids ?? options.filterReqids;
  const report = await convert(
    {
      logs,
      out,
      format: options.format,
      endpoint: options.endpoint === undefined ? undefined : { url: options.endpoint, headers: options.header },
      otlp: options.otlp,
      selection: {
        ids: ids === undefined ? [] : parseIds(ids, "--select-reqids"),
        sinceMs: options.since === undefined ? undefined : parseWhen(options.since, nowMs, "--since"),
        untilMs: options.until === undefined ? undefined : parseWhen(options.until, nowMs, "--until"),
        top: options.top === undefined ? undefined : { count: options.top, by: options.by },
      },
      skip: options.skipReqNum ?? options.skipReq_num ?? DEFAULT_SKIP,
      compat: options.compat,
      timezone: options.timezone,
      maxFileBytes: options.maxFileSize,
      merge: { names: { ...REPLAY_SETTINGS.names, version: buildInfo.version } },
    },
    progressOf(edge),
    edge.stop,
  );
  edge.stdout.write(`${options.json ? JSON.stringify(report, undefined, 2) : describeConversion(report)}\n`);
  return 0;
}

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  kB: 1000,
  MB: 1e6,
  GB: 1e9,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

function size(text: string): number {
  const found = /^(\d{1,12})\s*([kMGK]i?B)?$/.exec(text);
  const unit = UNITS[found?.[2] ?? ""];
  if (!found || unit === undefined) throw new InvalidArgumentError("Write a number of bytes, 500kB or 20MiB.");
  return Number(found[1]) * unit;
}
