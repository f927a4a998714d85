import { open } from "node:fs/promises";
import type { Clock } from "../telemetry/clock.ts";
import type { Logger } from "../telemetry/logger.ts";

/** Files of tokens and passwords are small; a larger one is a mistake. */
const MAX_BYTES = 1024 * 1024;
/** How long what was read stands before the file is looked at again. */
const FRESH_MS = 1000;

/** A small file that others replace while we run: a mounted secret. Read again on use, at most once a second. */
export class SecretFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #value: T | undefined;
  #text = "";
  #readAt = 0;
  #reading: Promise<T> | undefined;
  #problem = "";

  /** @param parse throws an Error that does not quote the text. */
  constructor(path: string, parse: (text: string) => T, options: { readonly clock: Clock; readonly logger: Logger }) {
    this.#path = path;
    this.#parse = parse;
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  /** The first read. @throws Error that names the file */
  async load(): Promise<void> {
    await this.#read();
  }

  /**
   * What is in the file. When it cannot be read any more, or no longer makes sense, the last good content stands and a
   * warning says so once. `now` looks at the file even when it was read a moment ago.
   * @throws Error before `load` has succeeded
   */
  current(now = false): Promise<T> {
    if (this.#value === undefined) return Promise.reject(new Error(`${this.#path} has not been read`));
    if (!now && this.#clock.monotonic() - this.#readAt < FRESH_MS) return Promise.resolve(this.#value);
    this.#reading ??= this.#again(this.#value).finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #again(last: T): Promise<T> {
    try {
      const value = await this.#read();
      this.#problem = "";
      return value;
    } catch (error) {
      this.#readAt = this.#clock.monotonic();
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== this.#problem)
        this.#logger.warn("A file cannot be read again; going on with what it had", { error: problem });
      this.#problem = problem;
      return last;
    }
  }

  async #read(): Promise<T> {
    const text = await readSmall(this.#path);
    this.#readAt = this.#clock.monotonic();
    if (this.#value !== undefined && text === this.#text) return this.#value;
    let value: T;
    try {
      value = this.#parse(text);
    } catch (error) {
      throw new Error(`${this.#path}: ${(error as Error).message}`, { cause: error });
    }
    if (this.#value !== undefined) this.#logger.info("A file has changed and was read again", { file: this.#path });
    this.#text = text;
    this.#value = value;
    return value;
  }
}

async function readSmall(path: string): Promise<string> {
  const file = await open(path, "r");
  try {
    const buffer = Buffer.allocUnsafe(MAX_BYTES + 1);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    if (bytesRead > MAX_BYTES)
      throw new Error(`${path} is larger than ${MAX_BYTES} bytes, the most such a file may have`);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}
