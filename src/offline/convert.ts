/** `omnishim convert`: logs in, a file for Jaeger's UI (or OTLP, or an endpoint) out. */
import { stat } from "node:fs/promises";
import { decodeTraces } from "../pdata/decode.ts";
import { Census, type ReplayCounts } from "./census.ts";
import { type Converting, type ConvertOptions, type Finished, nothingSelected } from "./converting.ts";
import { findLogs } from "./files/find-logs.ts";
import { Gatherer, gatherSettings } from "./gatherer.ts";
import { Scratch } from "./numbers/scratch.ts";
import { JaegerFiles } from "./output/jaeger-files.ts";
import type { OtlpEndpoint } from "./output/otlp-endpoint.ts";
import type { OtlpFile } from "./output/otlp-file.ts";
import type { TraceOutput, WrittenFile } from "./output/output.ts";
import { EXIT, Problem, reasonOf } from "./problem.ts";
import { type FileNote, type Progress, ReadingNotes } from "./reading.ts";
import { REPLAY_SETTINGS, type ReplaySink, replay } from "./replay.ts";
import { rankValue, type Selection, Selector, Top } from "./select.ts";
import { Summary } from "./summary/summary.ts";
import { modelOf, type OfflineTrace, tracedOf } from "./trace.ts";

export type { ConvertFormat, ConvertOptions } from "./converting.ts";

/** What was done. */
export interface ConvertReport extends ReplayCounts, Finished {
  readonly lines: number;
  readonly bytes: number;
  readonly logs: number;
  /** Hosts whose clock `omnishim collect` has recorded, by the names under which it is used. */
  readonly clocks: readonly string[];
  readonly skippedFiles: readonly FileNote[];
  readonly damagedFiles: readonly FileNote[];
  readonly cutLines: number;
}

/**
 * Converts. Memory does not grow with the logs. Files get their names when all is written; when it fails none is left.
 * @throws Problem; the reason of `stop` when that aborts
 */
export async function convert(options: ConvertOptions, progress: Progress, stop?: AbortSignal): Promise<ConvertReport> {
  checkOptions(options);
  const found = await findLogs(options.logs, options.timezone);
  if (found.logs.length === 0 && options.otlp.length === 0)
    throw new Problem(nothingFound(options.logs, found.skipped), EXIT.nothing);
  const notes = new ReadingNotes(found.bytes + (await sizeOf(options.otlp)), progress);
  const scratch = new Scratch();
  const output = options.compat ? await compatOutput(options, scratch) : await traceOutput(options, scratch);
  const census = new Census((request) => output.placed(request));
  try {
    const { lines } = await replay(
      { logs: found.logs, recordings: options.otlp, clocks: found.clocks },
      { ...REPLAY_SETTINGS, ...options.merge },
      census,
      output,
      notes,
      stop,
    );
    if (census.counts.requests === 0 && options.otlp.length === 0)
      throw new Problem(nothingFound(options.logs, found.skipped), EXIT.nothing);
    return {
      lines,
      bytes: notes.bytes,
      logs: found.logs.length,
      clocks: [...found.clocks.keys()].sort(),
      ...(await output.finish()),
      ...census.counts,
      skippedFiles: found.skipped,
      damagedFiles: notes.files,
      cutLines: notes.cutLines,
    };
  } catch (error) {
    await output.abort();
    throw error;
  } finally {
    progress.clear();
    scratch.close();
  }
}

function checkOptions({ out, endpoint, compat, format, otlp, selection }: ConvertOptions): void {
  const wrong = (message: string): never => {
    throw new Problem(message);
  };
  if (out === undefined && endpoint === undefined) wrong("nowhere to write to: give OUT, or --endpoint URL");
  if (compat && (format !== "jaeger" || endpoint !== undefined))
    wrong("--compat is a layout of Jaeger files: it goes with --format jaeger and without --endpoint");
  if (compat && otlp.length > 0) wrong("--compat has no place for recorded spans: leave --otlp out");
  const { sinceMs, untilMs } = selection;
  if (sinceMs !== undefined && untilMs !== undefined && sinceMs >= untilMs) wrong("--since is not before --until");
}

function nothingFound(path: string, skipped: readonly FileNote[]): string {
  const left =
    skipped.length > 0
      ? ` (${skipped.length} files left out, the first: ${skipped[0]?.path}: ${skipped[0]?.reason})`
      : "";
  return `${path}: no request in it${left}. Wanted: Omni Proxy's error log at --log-level info, or its access log, and vLLM's omnilogger files`;
}

async function sizeOf(paths: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const path of paths) {
    try {
      bytes += (await stat(path)).size;
    } catch (error) {
      throw new Problem(`${path}: cannot be read (${reasonOf(error)})`);
    }
  }
  return bytes;
}

// What only some conversions need is loaded by them: starting is a good part of converting a small log.

async function compatOutput(options: ConvertOptions, scratch: Scratch): Promise<Converting> {
  const { CompatOutput } = await import("./compat/output.ts");
  return new CompatOutput(options, scratch);
}

async function traceOutput(options: ConvertOptions, scratch: Scratch): Promise<Converting> {
  const { out, format, maxFileBytes, endpoint } = options;
  let files: JaegerFiles | OtlpFile | undefined;
  if (out !== undefined)
    files =
      format === "jaeger"
        ? new JaegerFiles(out, maxFileBytes)
        : new (await import("./output/otlp-file.ts")).OtlpFile(out, format);
  if (endpoint === undefined) return new TraceSelection(options, scratch, files, undefined);
  const { ENDPOINT_SETTINGS, OtlpEndpoint } = await import("./output/otlp-endpoint.ts");
  return new TraceSelection(options, scratch, files, new OtlpEndpoint({ ...ENDPOINT_SETTINGS, ...endpoint }));
}

class TraceSelection implements Converting {
  readonly #selector: Selector;
  readonly #gatherer: Gatherer;
  readonly #summary: Summary;
  readonly #rank: Selection["top"];
  readonly #top: Top<OfflineTrace> | undefined;
  readonly #files: JaegerFiles | OtlpFile | undefined;
  readonly #endpoint: OtlpEndpoint | undefined;
  readonly #outputs: readonly TraceOutput[];
  readonly #version: string;
  readonly #url: string;
  #traces = 0;

  constructor(
    options: ConvertOptions,
    scratch: Scratch,
    files: JaegerFiles | OtlpFile | undefined,
    endpoint: OtlpEndpoint | undefined,
  ) {
    this.#selector = new Selector(options.selection);
    this.#summary = new Summary(scratch, options.skip);
    this.#rank = options.selection.top;
    this.#top = this.#rank && new Top(this.#rank.count);
    this.#version = options.merge.names?.version ?? "";
    this.#gatherer = new Gatherer(gatherSettings(options.otlp), (trace) => this.#gathered(trace));
    this.#endpoint = endpoint;
    this.#url = options.endpoint?.url ?? "";
    this.#files = files;
    this.#outputs = [this.#files, this.#endpoint].filter((output) => output !== undefined);
  }

  request(...[request, figures, groups, rest]: Parameters<ReplaySink["request"]>): void {
    if (!this.#selector.inTime(request.startUs() ?? 0)) {
      this.#gatherer.leaveOut(request);
      return;
    }
    this.#gatherer.request(
      request,
      rest ? undefined : tracedOf(request, figures),
      groups.map((group) => modelOf(group, this.#version)),
    );
  }

  placed(request: Parameters<ReplaySink["request"]>[0]): void {
    this.#gatherer.awaits(request);
  }

  spans(bytes: Uint8Array): void {
    this.#gatherer.spans(decodeTraces(bytes));
  }

  tick(nowMs: number): Promise<void> | undefined {
    this.#gatherer.tick(nowMs);
    const waits = this.#outputs.flatMap((output) => output.ready() ?? []);
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined);
  }

  async finish(): Promise<Finished> {
    this.#gatherer.finish();
    for (const trace of this.#top?.items() ?? []) this.#write(trace);
    if (this.#traces === 0 && this.#selector.narrows) throw new Problem(nothingSelected(this.#selector), EXIT.nothing);
    const summaries = this.#summary.traces();
    const files: WrittenFile[] = [];
    for (const output of this.#outputs) files.push(...(await output.finish(summaries)));
    return {
      traces: this.#traces,
      summaries: { traces: summaries.length, requests: this.#summary.requests, skipped: this.#summary.skipped },
      files,
      endpoint: this.#endpoint && {
        url: this.#url,
        requests: this.#endpoint.sent,
        retries: this.#endpoint.retries,
        rejectedSpans: this.#endpoint.rejectedSpans,
      },
      missingIds: this.#selector.missing,
      partedTraces: this.#gatherer.parted,
      oversizedTraces: this.#files instanceof JaegerFiles ? this.#files.oversized : 0,
    };
  }

  async abort(): Promise<void> {
    for (const output of this.#outputs) await output.abort();
  }

  #gathered(trace: OfflineTrace): void {
    this.#summary.add(trace);
    if (!this.#selector.wants(trace)) return;
    if (!this.#top || !this.#rank) {
      this.#write(trace);
      return;
    }
    const value = rankValue(trace.requests, this.#rank.by);
    if (value !== undefined) this.#top.add(trace, value);
  }

  #write(trace: OfflineTrace): void {
    this.#traces++;
    for (const output of this.#outputs) output.write(trace);
  }
}
