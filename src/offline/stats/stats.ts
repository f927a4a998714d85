/** `omnishim stats`: what the stages of all requests took, from logs, a recording or Jaeger. */
import { writeFile } from "node:fs/promises";
import { Scratch } from "../numbers/scratch.ts";
import { EXIT, Problem, reasonOf } from "../problem.ts";
import type { Progress } from "../reading.ts";
import { readSource, type SourceOptions, type SourceReport } from "../source.ts";
import { type Grouping, type Statistics, StatsCollector } from "./collector.ts";
import { type ListedSpan, Operations } from "./operations.ts";

export interface StatsOptions {
  readonly source: string;
  readonly reading: SourceOptions;
  readonly by: Grouping | undefined;
  /** Only spans of this service; all when undefined. */
  readonly service: string | undefined;
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
  /** analyze_jaeger_all_spans_to_csv.py's table instead. */
  readonly csv: boolean;
  /** Where the CSV goes; returned when undefined. */
  readonly output: string | undefined;
  /** The shortest and longest spans of this operation too. */
  readonly operation: string | undefined;
}

export interface StatsReport {
  readonly source: SourceReport;
  readonly statistics: Statistics | undefined;
  /** undefined unless asked for and not written to a file. */
  readonly csv: string | undefined;
  readonly extremes: { readonly shortest: readonly ListedSpan[]; readonly longest: readonly ListedSpan[] } | undefined;
}

/** Reads the source once. @throws Problem; EXIT.nothing when there is no span in it */
export async function stats(options: StatsOptions, progress: Progress, stop?: AbortSignal): Promise<StatsReport> {
  const scratch = new Scratch();
  const collector = options.csv ? undefined : new StatsCollector(scratch, options);
  const operations =
    options.csv || options.operation !== undefined
      ? new Operations(scratch, options.service, options.operation)
      : undefined;
  try {
    const source = await readSource(
      options.source,
      options.reading,
      (trace) => {
        collector?.add(trace);
        operations?.add(trace);
      },
      progress,
      stop,
    );
    if (source.traces === 0) throw new Problem(`${options.source}: no trace in it`, EXIT.nothing);
    const csv = options.csv ? operations?.csv() : undefined;
    if (csv !== undefined && options.output !== undefined) await save(options.output, csv);
    return {
      source,
      statistics: collector?.finish(),
      csv: options.output === undefined ? csv : undefined,
      extremes: options.operation === undefined ? undefined : operations?.extremes(),
    };
  } finally {
    scratch.close();
  }
}

async function save(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (error) {
    throw new Problem(`${path}: cannot be written (${reasonOf(error)})`);
  }
}
