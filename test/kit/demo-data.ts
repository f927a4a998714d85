import { LEN, WireCursor, WireWriter } from "../../src/pdata/wire.ts";
import { linesOf, readCapture } from "./captures.ts";

/** The capture that demo/capture is cut from, and the manifest numbers of the requests that stay. */
export const DEMO_SOURCE = "proxy-vllm/grpc";
export const DEMO_REQUESTS = [4, 5, 8, 24, 31, 35, 36, 38] as const;

/**
 * The files of demo/capture by path: the log up to its first request, then all lines of the kept requests' connections
 * with the scheduler's lines among them, the access log's rows and vLLM's spans of those requests. Lines, rows and spans
 * are the captured bytes.
 */
export function cutDemoData(): Map<string, Buffer> {
  const capture = readCapture(DEMO_SOURCE);
  const lines = linesOf(capture.errorLog).map((bytes, at) => ({ bytes, at, text: bytes.toString("latin1") }));
  const received = lines.flatMap(({ text }) => {
    const match = /\*(\d+) <<<Action: Time received; Timestamp:[\d.]+; RequestID:([^,]*),/.exec(text);
    return match ? [{ connection: match[1] ?? "", id: match[2] ?? "" }] : [];
  });
  // Up to those that are kept, the client sent one request after the other: the n-th in the log is the manifest's n-th.
  const kept = DEMO_REQUESTS.map((i) => received[i - 1] ?? { connection: "", id: "" });
  const connections = new Set(kept.map(({ connection }) => connection));
  const ids = new Set(kept.map(({ id }) => id));

  const isOf = (text: string, connection: string): boolean => text.includes(`#0: *${connection} `);
  const spans = [...connections].map((connection) => {
    const own = lines.filter(({ text }) => isOf(text, connection)).map(({ at }) => at);
    return { from: Math.min(...own), to: Math.max(...own) };
  });
  const first = lines.findIndex(({ text }) => /#0: \*\d+ /.test(text));
  const errorLog = lines.filter(({ text, at }) => {
    if (at < first) return true;
    const connection = /#0: \*(\d+) /.exec(text)?.[1];
    if (connection !== undefined) return connections.has(connection);
    const id = /RequestID:(.*)/.exec(text)?.[1];
    return (id === undefined || ids.has(id)) && spans.some(({ from, to }) => from < at && at < to);
  });
  const rows = linesOf(capture.accessLog).filter((row) =>
    connections.has(/connection_info:"(\d+):/.exec(row.toString("latin1"))?.[1] ?? ""),
  );

  const files = new Map<string, Buffer>([
    ["nginx_error.log", Buffer.concat(errorLog.map(({ bytes }) => bytes))],
    ["nginx_access.log", Buffer.concat(rows)],
  ]);
  const meta: string[] = [];
  for (const { file, bytes, receivedUnix } of capture.payloads) {
    const cut = keepSpans(bytes, ids);
    if (cut.length === 0) continue;
    files.set(`otlp/${file}`, cut);
    meta.push(`${JSON.stringify({ file, received_unix: receivedUnix })}\n`);
  }
  return files.set("otlp/meta.jsonl", Buffer.from(meta.join("")));
}

/** An ExportTraceServiceRequest with only the spans of these requests; empty when there are none. */
function keepSpans(request: Uint8Array, ids: ReadonlySet<string>): Buffer {
  const writer = new WireWriter();
  for (const field of fieldsOf(request)) {
    const resource = filtered(field.value, 2, (scope) =>
      filtered(scope, 2, (span) => (isSpanOf(span, ids) ? span : undefined)),
    );
    if (resource !== undefined) writer.bytes(field.number, resource);
  }
  return writer.finish();
}

/** The message with each field `number` replaced by what `keep` gives; undefined when none of these is left. */
function filtered(
  message: Uint8Array,
  number: number,
  keep: (value: Uint8Array) => Uint8Array | undefined,
): Buffer | undefined {
  const writer = new WireWriter();
  let left = 0;
  for (const field of fieldsOf(message)) {
    if (field.number !== number) writer.raw(field.whole);
    else {
      const value = keep(field.value);
      if (value === undefined) continue;
      left++;
      writer.bytes(number, value);
    }
  }
  return left > 0 ? writer.finish() : undefined;
}

function* fieldsOf(message: Uint8Array): Generator<{ number: number; value: Uint8Array; whole: Uint8Array }> {
  const cursor = new WireCursor(message);
  while (cursor.next())
    yield {
      number: cursor.field,
      value: cursor.wire === LEN ? cursor.view() : new Uint8Array(0),
      whole: message.subarray(cursor.start, cursor.valueEnd),
    };
}

/** Whether a span's gen_ai.request.id names one of these requests (the log cuts ids to 36 characters). */
function isSpanOf(span: Uint8Array, ids: ReadonlySet<string>): boolean {
  for (const field of fieldsOf(span)) {
    if (field.number !== 9) continue;
    const [key, value] = [...fieldsOf(field.value)];
    if (key === undefined || value === undefined || Buffer.from(key.value).toString() !== "gen_ai.request.id") continue;
    const id = Buffer.from([...fieldsOf(value.value)][0]?.value ?? []).toString();
    return ids.has(id.replace(/^(?:chatcmpl|cmpl)-/, "").slice(0, 36));
  }
  return false;
}
