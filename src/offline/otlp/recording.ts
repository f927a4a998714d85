/**
 * Recorded traces as encoded requests: JSON lines as the file exporter writes them, one JSON document (OTLP, or what
 * Jaeger's UI and API give), an encoded ExportTraceServiceRequest, or several with their lengths in front (the file
 * exporter's `format: proto`); all of them plain or gzip.
 */
import { encodeTraces } from "../../pdata/encode.ts";
import { countItems } from "../../pdata/validate.ts";
import { FIXED64, LEN, WireCursor } from "../../pdata/wire.ts";
import { type ChunkSource, openChunks } from "../files/chunk-source.ts";
import { LineReader, type ReaderNotes } from "../files/line-reader.ts";
import { isJaegerDocument, resourceSpansOf } from "../jaeger/model.ts";
import { Problem, reasonOf } from "../problem.ts";
import type { TimedStream } from "../streams.ts";

/** Takes one encoded ExportTraceServiceRequest; `ms` is when its newest span ended (unix milliseconds). */
export type TakeRequest = (bytes: Uint8Array, items: number, ms: number) => void;

type JsonToProto = typeof import("../../pdata/json.ts").jsonToProto;

/** The longest line, message or document that is read into memory at once. */
const MOST_BYTES = 512 * 1024 * 1024 - 64;
const CHUNK_BYTES = 256 * 1024;
const LIMITS = { chunkBytes: CHUNK_BYTES, maxLineBytes: MOST_BYTES };
const FRAME_HEAD = 4;

/** A recording as a stream in the order in which it was recorded. */
export class RecordingStream implements TimedStream {
  nextMs = 0;
  readonly #requests: AsyncGenerator<Uint8Array>;
  readonly #take: TakeRequest;
  #next: Uint8Array | undefined;

  /** @throws Problem at the first `fill` when the file is none of these */
  constructor(path: string, notes: ReaderNotes, take: TakeRequest) {
    this.#requests = readRequests(path, notes);
    this.#take = take;
  }

  hand(): boolean {
    const bytes = this.#next as Uint8Array;
    this.#next = undefined;
    this.#take(bytes, countItems("traces", bytes), this.nextMs);
    return false;
  }

  async fill(): Promise<boolean> {
    const { value, done } = await this.#requests.next();
    if (done) return false;
    this.#next = value;
    this.nextMs = Math.max(this.nextMs, newestEndMs(value));
    return true;
  }

  async close(): Promise<void> {
    await this.#requests.return(undefined);
  }
}

/** The encoded requests of a file, in order; lines of other signals are left out, damaged ones reported. @throws Problem */
export async function* readRequests(path: string, notes: ReaderNotes): AsyncGenerator<Uint8Array, undefined> {
  const file = { path, gzip: /\.gz$/i.test(path) };
  const head = await firstBytes(file);
  if (head.length === 0) return;
  const start = head.toString("latin1").trimStart();
  if (start.startsWith("{")) yield* readJson(file, notes);
  else if (isFramed(head)) yield* readFrames(file, notes);
  else yield await checked(await wholeFile(file), path);
}

async function firstBytes(file: { path: string; gzip: boolean }): Promise<Buffer> {
  const bytes = Buffer.alloc(CHUNK_BYTES);
  let source: ChunkSource | undefined;
  try {
    source = await openChunks(file);
    return bytes.subarray(0, await source.read(bytes, 0));
  } catch (error) {
    throw new Problem(`${file.path}: cannot be read (${reasonOf(error)})`);
  } finally {
    await source?.close();
  }
}

/** Whether a file that begins so is a recording rather than a log. An access log's row looks like JSON, but its keys are bare. */
export function isRecording(head: Buffer): boolean {
  if (/^\s*\{\s*["}]/.test(head.toString("latin1"))) return true;
  // An encoded request begins with a line feed, as an empty line does.
  return isFramed(head) || (head[0] === 0x0a && /[^\t\n\r -~]/.test(head.toString("latin1", 0, 64)));
}

/** A length in front of what begins like a ResourceSpans: field 1, LEN. */
function isFramed(head: Buffer): boolean {
  return head.length > FRAME_HEAD && head[0] === 0 && head.readUInt32BE(0) > 0 && head[FRAME_HEAD] === 0x0a;
}

async function* readJson(file: { path: string; gzip: boolean }, notes: ReaderNotes): AsyncGenerator<Uint8Array> {
  const { jsonToProto } = await import("../../pdata/json.ts"); // large, and logs need none of it
  const reader = new LineReader([file], LIMITS, notes);
  let line = 0;
  try {
    while (await reader.fill()) {
      while (reader.next()) {
        line++;
        const text = reader.bytes.subarray(reader.from, reader.to);
        if (text.length === 0) continue;
        const requests = requestsOf(text, jsonToProto);
        if (Array.isArray(requests)) yield* requests;
        else if (line === 1) {
          // Not a document a line: one document over many.
          yield* await document(file, jsonToProto);
          return;
        } else notes.damaged(file.path, `line ${line}: ${requests}`);
      }
    }
  } finally {
    await reader.close();
  }
}

async function document(file: { path: string; gzip: boolean }, jsonToProto: JsonToProto): Promise<Uint8Array[]> {
  const requests = requestsOf(await wholeFile(file), jsonToProto);
  if (Array.isArray(requests)) return requests;
  throw new Problem(`${file.path}: neither OTLP JSON nor a Jaeger trace file (${requests})`);
}

/** What a JSON text holds; the reason when it cannot be read. */
function requestsOf(text: Buffer, jsonToProto: JsonToProto): Uint8Array[] | string {
  try {
    // Looked at by its first key, so that most lines are parsed once only.
    const key = /^\s*\{\s*"(\w+)"/.exec(text.toString("latin1", 0, 200))?.[1];
    if (key === "resourceLogs" || key === "resourceMetrics") {
      JSON.parse(text.toString("utf8"));
      return [];
    }
    if (key === "resourceSpans" || key === "resource_spans") return [jsonToProto("traces", text)];
    const parsed: unknown = JSON.parse(text.toString("utf8"));
    if (isJaegerDocument(parsed)) return [encodeTraces(resourceSpansOf(parsed))];
    const inner = (parsed as { result?: unknown } | null)?.result ?? parsed;
    return [jsonToProto("traces", Buffer.from(JSON.stringify(inner)))];
  } catch (error) {
    return reasonOf(error);
  }
}

async function* readFrames(file: { path: string; gzip: boolean }, notes: ReaderNotes): AsyncGenerator<Uint8Array> {
  const source = await openChunks(file);
  let held = Buffer.alloc(0);
  try {
    for (;;) {
      const length = held.length < FRAME_HEAD ? FRAME_HEAD : held.readUInt32BE(0) + FRAME_HEAD;
      if (length > MOST_BYTES) {
        notes.damaged(file.path, `a message of ${length} bytes, more than ${MOST_BYTES}`);
        return;
      }
      if (held.length >= length && length > FRAME_HEAD) {
        yield await checked(Buffer.from(held.subarray(FRAME_HEAD, length)), file.path);
        held = held.subarray(length);
        continue;
      }
      const chunk = Buffer.allocUnsafe(Math.max(CHUNK_BYTES, length - held.length));
      const read = await source.read(chunk, 0);
      notes.read(source.takeRaw());
      if (read === 0) {
        if (held.length > 0) notes.damaged(file.path, "ends inside a message");
        return;
      }
      held = Buffer.concat([held, chunk.subarray(0, read)]);
    }
  } finally {
    await source.close();
  }
}

async function wholeFile(file: { path: string; gzip: boolean }): Promise<Buffer> {
  const source = await openChunks(file);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      const read = await source.read(chunk, 0);
      if (read === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, read));
      size += read;
      if (size > MOST_BYTES)
        throw new Problem(
          `${file.path}: larger than ${MOST_BYTES} bytes; record it as JSON lines, which are read one by one`,
        );
    }
  } finally {
    await source.close();
  }
}

async function checked(bytes: Buffer, path: string): Promise<Buffer> {
  try {
    countItems("traces", bytes);
    return bytes;
  } catch (error) {
    throw new Problem(`${path}: neither JSON nor an encoded ExportTraceServiceRequest (${reasonOf(error)})`);
  }
}

/** When the newest span of a request ended, unix milliseconds; 0 when it has none. */
function newestEndMs(bytes: Uint8Array): number {
  let newest = 0;
  // ExportTraceServiceRequest.resource_spans=1, ResourceSpans.scope_spans=2, ScopeSpans.spans=2, Span.end_time_unix_nano=8
  const visit = (from: number, to: number, path: readonly number[]): void => {
    const cursor = new WireCursor(bytes, from, to);
    const [field, ...deeper] = path;
    while (cursor.next()) {
      if (field === undefined) {
        if (cursor.field === 8 && cursor.wire === FIXED64) newest = Math.max(newest, Number(cursor.fixed64()) / 1e6);
      } else if (cursor.field === field && cursor.wire === LEN) visit(cursor.valueStart, cursor.valueEnd, deeper);
    }
  };
  visit(0, bytes.length, [1, 2, 2]);
  return newest;
}
