/** `convert --compat`: log_to_jaeger.py's layout, written to Jaeger files. */
import { type Converting, type ConvertOptions, type Finished, nothingSelected } from "../converting.ts";
import type { Scratch } from "../numbers/scratch.ts";
import { JaegerFiles } from "../output/jaeger-files.ts";
import { EXIT, Problem } from "../problem.ts";
import type { ReplaySink } from "../replay.ts";
import { rankValue, type Selection, Selector, Top } from "../select.ts";
import { tracedOf } from "../trace.ts";
import { layOut } from "./layout.ts";
import { CompatSummary } from "./summary.ts";
import { requestText } from "./text.ts";

/** A request's text is made when it is finished; recorded spans have no place in it. */
export class CompatOutput implements Converting {
  readonly #selector: Selector;
  readonly #summary: CompatSummary;
  readonly #rank: Selection["top"];
  readonly #top: Top<string> | undefined;
  readonly #files: JaegerFiles;
  #traces = 0;

  constructor(options: ConvertOptions, scratch: Scratch) {
    this.#selector = new Selector(options.selection);
    this.#summary = new CompatSummary(scratch, options.skip);
    this.#rank = options.selection.top;
    this.#top = this.#rank && new Top(this.#rank.count);
    this.#files = new JaegerFiles(options.out as string, options.maxFileBytes);
  }

  request(...[request, figures, , rest]: Parameters<ReplaySink["request"]>): void {
    if (rest || !request.identity || !this.#selector.inTime(request.startUs() ?? 0)) return;
    const { traceId } = request.identity;
    const traced = tracedOf(request, figures);
    const { id, startUs } = traced;
    const spans = layOut(request, id);
    if (spans.length === 0) return;
    if (figures.verdict.outcome === "ok") this.#summary.add(traceId, startUs, spans);
    const requests = [traced];
    if (!this.#selector.wants({ traceId, requests })) return;
    const text = requestText(traceId, id, spans);
    if (!this.#top || !this.#rank) {
      this.#write(text);
      return;
    }
    const value = rankValue(requests, this.#rank.by);
    if (value !== undefined) this.#top.add(text, value);
  }

  placed(): void {}
  spans(): void {}

  tick(): Promise<void> | undefined {
    return this.#files.ready();
  }

  async finish(): Promise<Finished> {
    for (const text of this.#top?.items() ?? []) this.#write(text);
    if (this.#traces === 0 && this.#selector.narrows) throw new Problem(nothingSelected(this.#selector), EXIT.nothing);
    const summaries = this.#summary.texts();
    return {
      traces: this.#traces,
      summaries: { traces: summaries.length, requests: this.#summary.requests, skipped: this.#summary.skipped },
      files: await this.#files.finishTexts(summaries),
      endpoint: undefined,
      missingIds: this.#selector.missing,
      partedTraces: 0,
      oversizedTraces: this.#files.oversized,
    };
  }

  abort(): Promise<void> {
    return this.#files.abort();
  }

  #write(text: string): void {
    this.#traces++;
    this.#files.writeText(text);
  }
}
