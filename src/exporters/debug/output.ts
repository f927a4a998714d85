import { createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import type { Logger } from "../../telemetry/logger.ts";

/** Where the debug exporter writes to. */
export interface Output {
  open(): Promise<void>;
  /** Resolves when it was written: a terminal or a pipe that is slow slows the pipeline down instead of filling memory. */
  write(message: string, fields: Readonly<Record<string, unknown>>): Promise<void>;
  close(): Promise<void>;
}

/** The program's own log, at level info. */
export class LoggerOutput implements Output {
  readonly #logger: Logger;
  constructor(logger: Logger) {
    this.#logger = logger;
  }
  async open(): Promise<void> {}
  async write(message: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
    this.#logger.info(message, fields);
  }
  async close(): Promise<void> {}
}

/** "stdout", "stderr" and files, which are appended to; lines without time and level (createCustomLogger). */
export class PathsOutput implements Output {
  readonly #paths: readonly string[];
  readonly #streams: { readonly stream: NodeJS.WritableStream; readonly owned: boolean }[] = [];
  readonly #ignore = (): void => {};

  constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /** @throws Error when a file cannot be opened */
  async open(): Promise<void> {
    for (const path of this.#paths) {
      const standard = path === "stdout" ? process.stdout : path === "stderr" ? process.stderr : undefined;
      const stream: NodeJS.WritableStream = standard ?? createWriteStream(path, { fd: await openToAppend(path) });
      // A failed write is told to its writer; as an event nobody listens to it would end the process.
      stream.on("error", this.#ignore);
      this.#streams.push({ stream, owned: standard === undefined });
    }
  }

  async write(message: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
    const text = Object.keys(fields).length > 0 ? `${message}\t${JSON.stringify(fields)}\n` : `${message}\n`;
    await Promise.all(
      this.#streams.map(
        ({ stream }) =>
          new Promise<void>((resolve, reject) => {
            stream.write(text, (error) => (error ? reject(error) : resolve()));
          }),
      ),
    );
  }

  async close(): Promise<void> {
    for (const { stream, owned } of this.#streams.splice(0)) {
      if (owned) await new Promise<void>((resolve) => stream.end(() => resolve()));
      else stream.off("error", this.#ignore);
    }
  }
}

async function openToAppend(path: string) {
  return await open(path, "a").catch((error: unknown) => {
    throw new Error(`output_paths: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  });
}
