/** `omnishim report`: one page about all requests of a source. */
import { rename, rm, writeFile } from "node:fs/promises";
import { Scratch } from "../numbers/scratch.ts";
import { EXIT, Problem, reasonOf } from "../problem.ts";
import type { Progress } from "../reading.ts";
import { readSource, type SourceOptions } from "../source.ts";
import { type CollectOptions, ReportCollector, type ReportData } from "./collector.ts";
import { renderPage } from "./page/page.ts";

export interface ReportOptions extends CollectOptions {
  readonly source: string;
  readonly reading: SourceOptions;
  /** The page; undefined writes none. */
  readonly out: string | undefined;
  /** Where requests can be looked at: the address of Jaeger's UI. */
  readonly jaeger: string | undefined;
  /** What wrote the page: name and version. */
  readonly generator: string;
  readonly title: string;
}

/**
 * Reads the source once and writes the page. Neither memory nor page grow with the source.
 * @throws Problem; EXIT.nothing when there is no request in it. No file is left then
 */
export async function report(options: ReportOptions, progress: Progress, stop?: AbortSignal): Promise<ReportData> {
  const { source, reading, out, jaeger, generator, title } = options;
  const scratch = new Scratch();
  try {
    const collector = new ReportCollector(scratch, options);
    const read = await readSource(source, reading, (trace) => collector.add(trace), progress, stop);
    const data = collector.finish(title, read);
    if (data.period === undefined)
      throw new Problem(
        read.traces === 0
          ? `${source}: no trace in it`
          : `${source}: no request of Omni Proxy in its ${read.traces} traces, or none in the time that was asked for`,
        EXIT.nothing,
      );
    const spansKnown = read.kind !== "logs" || reading.otlp.length > 0;
    if (out !== undefined) await save(out, renderPage(data, { jaeger, generator, spansKnown }));
    return data;
  } finally {
    scratch.close();
  }
}

/** The file has its name when it is whole. */
async function save(path: string, text: string): Promise<void> {
  const part = `${path}.part`;
  try {
    await writeFile(part, text);
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    throw new Problem(`${path}: cannot be written (${reasonOf(error)})`);
  }
}
