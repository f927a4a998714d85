/**
 * Files for the upload of Jaeger's UI: `{"data":[…]}`, several where one would be too large for it. They get their names
 * when all of them are complete.
 */
import { createReadStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { extname } from "node:path";
import { pipeline } from "node:stream/promises";
import { traceText } from "../jaeger/trace-text.ts";
import { Problem, reasonOf } from "../problem.ts";
import type { OfflineTrace } from "../trace.ts";
import { UI_UPLOAD_BYTES } from "./limits.ts";
import type { TraceOutput, WrittenFile } from "./output.ts";
import { QueuedFile } from "./queued-file.ts";

const HEAD = '{"data":[';
const TAIL = "]}\n";
/** Room in the first file for what `finish` puts in front. */
const FIRST_BYTES = 1024 * 1024;

interface Part {
  readonly file: QueuedFile;
  readonly name: string;
  traces: number;
}

export class JaegerFiles implements TraceOutput {
  readonly #path: string;
  readonly #mostBytes: number;
  readonly #parts: Part[] = [];
  #closing: Promise<void>[] = [];
  /** Traces that alone are larger than a file may be. */
  oversized = 0;

  /** `mostBytes` of 0 makes one file whatever its size. */
  constructor(path: string, mostBytes: number = UI_UPLOAD_BYTES) {
    this.#path = path;
    this.#mostBytes = mostBytes === 0 ? Number.POSITIVE_INFINITY : mostBytes;
    this.#parts.push(this.#newPart());
  }

  write(trace: OfflineTrace): void {
    this.writeText(traceText(trace.traceId, trace.resourceSpans));
  }

  /** Writes a trace that is spelled already: one JSON object. */
  writeText(text: string): void {
    const bytes = Buffer.byteLength(text);
    let part = this.#parts.at(-1) as Part;
    const room = this.#mostBytes - (this.#parts.length === 1 ? Math.min(FIRST_BYTES, this.#mostBytes / 2) : 0);
    if (part.traces > 0 && part.file.size + bytes + TAIL.length + 1 > room) {
      this.#end(part);
      part = this.#newPart();
      this.#parts.push(part);
    }
    if (HEAD.length + bytes + TAIL.length > this.#mostBytes) this.oversized++;
    part.file.append(part.traces === 0 ? text : `,${text}`);
    part.traces++;
  }

  ready(): Promise<void> | undefined {
    return (this.#parts.at(-1) as Part).file.ready();
  }

  finish(first: readonly OfflineTrace[]): Promise<readonly WrittenFile[]> {
    return this.finishTexts(first.map(({ traceId, resourceSpans }) => traceText(traceId, resourceSpans)));
  }

  /** As `finish`. */
  async finishTexts(first: readonly string[]): Promise<readonly WrittenFile[]> {
    const last = this.#parts.at(-1) as Part;
    if (this.#parts.length > 1) last.file.append(TAIL);
    this.#closing.push(last.file.close());
    await Promise.all(this.#closing);
    const [body, ...rest] = this.#parts as [Part, ...Part[]];
    const whole = await this.#firstFile(body, first);
    const written: WrittenFile[] = [];
    for (const { file, name, traces } of [whole, ...rest]) {
      await this.#named(file.path, name);
      written.push({ path: name, bytes: file.size, traces });
    }
    return written;
  }

  async abort(): Promise<void> {
    for (const { file } of this.#parts) {
      await file.close().catch(() => undefined);
      await rm(file.path, { force: true });
    }
  }

  /** The first part has no head yet: what comes first was not known. */
  #newPart(): Part {
    const number = this.#parts.length + 1;
    const extension = extname(this.#path);
    const stem = this.#path.slice(0, this.#path.length - extension.length);
    const file = new QueuedFile(`${this.#path}.part-${number}`);
    if (number > 1) file.append(HEAD);
    return { file, name: number === 1 ? this.#path : `${stem}-${number}${extension}`, traces: 0 };
  }

  #end(part: Part): void {
    if (this.#parts.length > 1) part.file.append(TAIL);
    const closing = part.file.close();
    closing.catch(() => undefined); // shown by `finish`
    this.#closing.push(closing);
  }

  async #firstFile(body: Part, first: readonly string[]): Promise<Part> {
    const file = new QueuedFile(`${this.#path}.part-0`);
    file.append(HEAD);
    file.append(first.join(","));
    if (first.length > 0 && body.traces > 0) file.append(",");
    await pipeline(createReadStream(body.file.path), async (chunks) => {
      for await (const chunk of chunks) {
        file.append(chunk as Buffer);
        await file.ready();
      }
    });
    file.append(TAIL);
    await file.close();
    await rm(body.file.path, { force: true });
    return { file, name: body.name, traces: body.traces + first.length };
  }

  async #named(from: string, to: string): Promise<void> {
    try {
      await rename(from, to);
    } catch (error) {
      throw new Problem(`${to}: cannot be written (${reasonOf(error)})`);
    }
  }
}
