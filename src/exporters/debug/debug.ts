import type { Settings } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import type { Signal } from "../../pdata/payload.ts";
import type { AnyBatch } from "../../sending/sender.ts";
import type { DebugConfig } from "./config.ts";
import { renderDetailed } from "./detailed.ts";
import { renderNormal } from "./normal.ts";
import { LoggerOutput, type Output, PathsOutput } from "./output.ts";
import { Sampler } from "./sampler.ts";
import { summarize } from "./summary.ts";

/** Shows what comes. */
export class DebugWriter {
  readonly #verbosity: DebugConfig["verbosity"];
  readonly #output: Output;
  readonly #samplers: Readonly<Record<Signal, Sampler>>;

  constructor(config: DebugConfig, settings: Settings) {
    const sampler = (): Sampler => new Sampler(settings.clock, config.sampling_initial, config.sampling_thereafter);
    this.#verbosity = config.verbosity;
    this.#output = config.use_internal_logger
      ? new LoggerOutput(settings.logger)
      : new PathsOutput(config.output_paths ?? ["stdout"]);
    this.#samplers = { traces: sampler(), metrics: sampler(), logs: sampler() };
  }

  /** @throws Error when an output cannot be opened */
  open(): Promise<void> {
    return this.#output.open();
  }

  close(): Promise<void> {
    return this.#output.close();
  }

  /** @throws ConsumeError permanent when the batch cannot be read, retryable when it cannot be written */
  async show(batch: AnyBatch): Promise<void> {
    if (!this.#samplers[batch.signal].pass()) return;
    const { message, counts, details } = this.#describe(batch);
    try {
      await this.#output.write(message, counts);
      if (details !== "") await this.#output.write(details, {});
    } catch (error) {
      throw ConsumeError.from(error);
    }
  }

  #describe(batch: AnyBatch): { message: string; counts: Readonly<Record<string, number>>; details: string } {
    try {
      return { ...summarize(batch), details: this.#details(batch) };
    } catch (error) {
      throw new ConsumeError("permanent", `the batch cannot be shown: ${String(error)}`, { cause: error });
    }
  }

  #details(batch: AnyBatch): string {
    switch (this.#verbosity) {
      case "basic":
        return "";
      case "normal":
        return renderNormal(batch);
      case "detailed":
        // On lines of its own, so that columns stay under each other behind a log line's head.
        return `\n${renderDetailed(batch)}`;
    }
  }
}
