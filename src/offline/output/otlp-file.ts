/** One file of OTLP: JSON lines, or encoded requests each with its length in front, as the Collector's file exporter writes them. */
import { rename, rm } from "node:fs/promises";
import { encodeTraces } from "../../pdata/encode.ts";
import { protoToJson } from "../../pdata/json.ts";
import { Problem, reasonOf } from "../problem.ts";
import type { OfflineTrace } from "../trace.ts";
import { TraceBatch } from "./batch.ts";
import type { TraceOutput, WrittenFile } from "./output.ts";
import { QueuedFile } from "./queued-file.ts";

export class OtlpFile implements TraceOutput {
  readonly #path: string;
  readonly #format: "otlp-json" | "otlp-proto";
  readonly #file: QueuedFile;
  readonly #batch = new TraceBatch();
  #traces = 0;

  constructor(path: string, format: "otlp-json" | "otlp-proto") {
    this.#path = path;
    this.#format = format;
    this.#file = new QueuedFile(`${path}.part`);
  }

  write(trace: OfflineTrace): void {
    this.#traces++;
    if (this.#batch.add(trace)) this.#flush();
  }

  ready(): Promise<void> | undefined {
    return this.#file.ready();
  }

  async finish(first: readonly OfflineTrace[]): Promise<readonly WrittenFile[]> {
    // In OTLP order means nothing: "first" may as well come last.
    for (const trace of first) this.write(trace);
    this.#flush();
    await this.#file.close();
    try {
      await rename(this.#file.path, this.#path);
    } catch (error) {
      throw new Problem(`${this.#path}: cannot be written (${reasonOf(error)})`);
    }
    return [{ path: this.#path, bytes: this.#file.size, traces: this.#traces }];
  }

  async abort(): Promise<void> {
    await this.#file.close().catch(() => undefined);
    await rm(this.#file.path, { force: true });
  }

  #flush(): void {
    const taken = this.#batch.take();
    if (taken.length === 0) return;
    const bytes = encodeTraces(taken);
    if (this.#format === "otlp-json") {
      this.#file.append(`${protoToJson("traces", bytes)}\n`);
      return;
    }
    const head = Buffer.alloc(4);
    head.writeUInt32BE(bytes.length);
    this.#file.append(head);
    this.#file.append(bytes);
  }
}
