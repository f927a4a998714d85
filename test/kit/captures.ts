import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../fixtures/captures/", import.meta.url));

/** One request as the client that sent it saw it; times are unix seconds on the client's clock. */
export interface ManifestEntry {
  readonly i: number;
  readonly kind: string;
  readonly path: string;
  readonly stream: boolean;
  readonly n: number;
  readonly max_tokens: number | null;
  readonly prompt_form: string;
  readonly x_request_id_sent: string | null;
  readonly traceparent_sent: string | null;
  /** What was special about it: "prefill answers 500"; empty for the plain ones. */
  readonly note: string;
  readonly t_start: number;
  readonly t_first_byte: number | null;
  readonly t_end: number;
  readonly outcome: {
    readonly status_line: string | null;
    readonly response_ids: readonly string[];
    readonly sse_events: number;
    readonly done_marker: boolean;
    readonly client_disconnected: string | null;
    readonly error: string | null;
  };
}

/** An ExportTraceServiceRequest as vLLM sent it. */
export interface CapturedPayload {
  /** "0001.pb" */
  readonly file: string;
  readonly bytes: Buffer;
  /** When it arrived, unix seconds. */
  readonly receivedUnix: number;
}

/** One run of the captured stack. What a run has not is empty. */
export interface Capture {
  /** "proxy-vllm/grpc" */
  readonly name: string;
  readonly payloads: readonly CapturedPayload[];
  /** As nginx wrote it, NUL bytes included. */
  readonly errorLog: Buffer;
  readonly accessLog: Buffer;
  readonly manifest: readonly ManifestEntry[];
  /** Manifest number -> request id, where it could be told. */
  readonly requestIds: ReadonlyMap<number, string>;
}

/** Every run before a proxy, by name: "proxy-mock/aggregation", ... */
export function proxyCaptureNames(): string[] {
  return ["proxy-mock", "proxy-vllm"].flatMap((kind) =>
    readdirSync(join(folder, kind))
      .sort()
      .map((run) => `${kind}/${run}`),
  );
}

/** @throws when there is no such run. */
export function readCapture(name: string): Capture {
  const dir = join(folder, name);
  const bytes = (file: string): Buffer =>
    existsSync(join(dir, file)) ? readFileSync(join(dir, file)) : Buffer.alloc(0);
  const json = (file: string, empty: string): unknown => JSON.parse(bytes(file).toString("utf8") || empty);
  if (!existsSync(dir)) throw new Error(`no capture ${name}; there are: ${proxyCaptureNames().join(", ")}`);
  const ids = json("derived-ids.json", "{}") as Record<string, { request_id: string | null }>;
  return {
    name,
    payloads: bytes("otlp/meta.jsonl")
      .toString("utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as { file: string; received_unix: number })
      .map(({ file, received_unix }) => ({
        file,
        bytes: readFileSync(join(dir, "otlp", file)),
        receivedUnix: received_unix,
      })),
    errorLog: bytes("error.log"),
    accessLog: bytes("access.log"),
    manifest: json("manifest.json", "[]") as ManifestEntry[],
    requestIds: new Map(
      Object.entries(ids).flatMap(([i, { request_id }]) => (request_id === null ? [] : [[Number(i), request_id]])),
    ),
  };
}

/** Numbers in [0, 1), the same ones for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** How payloads and log interleave: as they really came, anywhere, or one before all of the other. */
export type Mix = "live" | "random" | "log-first" | "otlp-first";

export interface ReplayPlan {
  /** Default "live". */
  readonly mix?: Mix;
  /** The order of the payloads. Default "file": as they were received. */
  readonly order?: "file" | "reverse" | "shuffle";
  /** Default 1. The same plan with the same seed gives the same steps. */
  readonly seed?: number;
  /** How many pieces error.log is cut into, anywhere, also within lines. Default 40. */
  readonly chunks?: number;
  /** Whether access.log is appended too, each line at its time. Default false. */
  readonly access?: boolean;
}

/** What happens next. Appending all "log" steps gives error.log; the same for "access". */
export type ReplayStep =
  | { readonly kind: "log"; readonly bytes: Buffer }
  | { readonly kind: "access"; readonly bytes: Buffer }
  | { readonly kind: "payload"; readonly payload: CapturedPayload };

/** The steps that play `capture` once. */
export function planReplay(capture: Capture, plan: ReplayPlan = {}): ReplayStep[] {
  const { mix = "live", order = "file", seed = 1, chunks = 40, access = false } = plan;
  const random = seededRandom(seed);
  const { errorLog } = capture;
  const anywhere = (): number => Math.floor(random() * (errorLog.length + 1));
  const position = timeline(errorLog);

  const payloads = [...capture.payloads];
  const places = payloads
    .map(({ receivedUnix }) => {
      if (mix === "live") return position(receivedUnix);
      return mix === "random" ? anywhere() : mix === "log-first" ? errorLog.length : 0;
    })
    .sort((a, b) => a - b);
  if (order === "reverse") payloads.reverse();
  if (order === "shuffle")
    for (let last = payloads.length - 1; last > 0; last--) {
      const other = Math.floor(random() * (last + 1));
      [payloads[last], payloads[other]] = [payloads[other] as CapturedPayload, payloads[last] as CapturedPayload];
    }

  const events: { at: number; step?: ReplayStep }[] = payloads.map((payload, index) => ({
    at: places[index] as number,
    step: { kind: "payload", payload },
  }));
  for (let cut = 1; cut < chunks; cut++) events.push({ at: anywhere() });
  events.push({ at: errorLog.length });
  if (access)
    for (const line of linesOf(capture.accessLog)) {
      const time = /[{,]time:"([\d.]+)"/.exec(line.toString("latin1"));
      events.push({ at: time ? position(Number(time[1])) : 0, step: { kind: "access", bytes: line } });
    }

  const steps: ReplayStep[] = [];
  let written = 0;
  for (const { at, step } of events.sort((a, b) => a.at - b.at)) {
    if (at > written) steps.push({ kind: "log", bytes: errorLog.subarray(written, at) });
    written = Math.max(written, at);
    if (step) steps.push(step);
  }
  return steps;
}

/** The lines of a log, each with its line feed. */
export function linesOf(log: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let from = 0; from < log.length; ) {
    const feed = log.indexOf(10, from);
    const to = feed < 0 ? log.length : feed + 1;
    lines.push(log.subarray(from, to));
    from = to;
  }
  return lines;
}

const action = /\] \d+#\d+: (?:\*(\d+) )?<<<Action: ([^;]*); Timestamp:(\d+\.\d+);/;

/**
 * When what was written: unix seconds -> the byte behind the last action line written before. Action lines have seconds
 * since boot, but `Start to schedule` has unix time and comes right before `Time received` on its connection, so the
 * largest difference of the two in a run of nginx is that run's clock offset.
 */
function timeline(errorLog: Buffer): (unix: number) => number {
  const marks: { behind: number; run: number; monotonic: number }[] = [];
  const offsets = new Map<number, number>();
  const starts = new Map<string, number>();
  let behind = 0;
  let run = 0;
  for (const line of linesOf(errorLog)) {
    behind += line.length;
    const text = line.toString("latin1");
    if (/\] \d+#\d+: nginx\//.test(text)) {
      run++;
      starts.clear();
    }
    const match = action.exec(text);
    if (!match) continue;
    const [, connection = "", name, stamp] = match;
    const time = Number(stamp);
    if (name === "Start to schedule") {
      starts.set(connection, time);
      continue;
    }
    const start = name === "Time received" ? starts.get(connection) : undefined;
    if (start !== undefined) offsets.set(run, Math.max(offsets.get(run) ?? -Infinity, start - time));
    marks.push({ behind, run, monotonic: time });
  }
  const fallback = [...offsets.values()][0] ?? 0;
  return (unix) =>
    marks.reduce(
      (last, mark) =>
        mark.monotonic + (offsets.get(mark.run) ?? fallback) <= unix ? Math.max(last, mark.behind) : last,
      0,
    );
}
