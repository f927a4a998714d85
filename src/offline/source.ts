/** What offline commands read: logs, a recording, or a running Jaeger, all of them as traces. */
import { stat } from "node:fs/promises";
import type { MergeObserver, MergeSettings } from "../omni/merge.ts";
import { decodeTraces } from "../pdata/decode.ts";
import { Census, type ReplayCounts } from "./census.ts";
import { openChunks } from "./files/chunk-source.ts";
import { type FoundLogs, findLogs } from "./files/find-logs.ts";
import { Gatherer, gatherSettings } from "./gatherer.ts";
import { fetchTraces } from "./jaeger/client.ts";
import { isRecording, RecordingStream } from "./otlp/recording.ts";
import { EXIT, Problem, reasonOf } from "./problem.ts";
import { type FileNote, type Progress, ReadingNotes } from "./reading.ts";
import { REPLAY_SETTINGS, replay } from "./replay.ts";
import { readInOrder } from "./streams.ts";
import { modelOf, type OfflineTrace, tracedOf } from "./trace.ts";

export interface SourceOptions {
  /** For logs: recorded OTLP to be merged in. */
  readonly otlp: readonly string[];
  /** For logs, as in ConvertOptions. */
  readonly timezone: string;
  /** For Jaeger: whose traces; what is asked for where a shim's traces are. */
  readonly service: string;
  /** For Jaeger, unix milliseconds. */
  readonly fromMs: number;
  readonly toMs: number;
  /** For Jaeger: the most traces; 0 for all. */
  readonly limit: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Changes to REPLAY_SETTINGS. */
  readonly merge: Partial<MergeSettings>;
}

/** What was read. */
export interface SourceReport {
  readonly kind: "logs" | "recording" | "jaeger";
  readonly traces: number;
  readonly lines: number;
  readonly bytes: number;
  readonly skippedFiles: readonly FileNote[];
  readonly damagedFiles: readonly FileNote[];
  /** For logs. */
  readonly counts: ReplayCounts | undefined;
}

/** For one request of Jaeger's API, as analyze_jaeger_all_spans_to_csv.py waits. */
export const JAEGER_TIMEOUT_MS = 60_000;
/** In a recording nothing tells when a trace is whole: a request may take minutes. */
const GATHER_RECORDED = { lingerMs: 0, sharedMs: 1_200_000, maxSpans: 200_000 };
const TICK_MS = 1_000;

/** Reads `source` and hands on each trace as soon as it is whole. Memory does not grow with the source. @throws Problem */
export async function readSource(
  source: string,
  options: SourceOptions,
  take: (trace: OfflineTrace) => void,
  progress: Progress,
  stop?: AbortSignal,
): Promise<SourceReport> {
  const counted = counting(take);
  try {
    switch (await kindOf(source)) {
      case "jaeger":
        return await readJaeger(source, options, counted, stop);
      case "recording":
        return await readRecording(source, counted, progress, stop);
      case "logs":
        return await readLogs(source, options, counted, progress, stop);
    }
  } finally {
    progress.clear();
  }
}

/** A URL is Jaeger's; a folder has logs; a file is a recording or a log by its first bytes. @throws Problem */
export async function kindOf(source: string): Promise<SourceReport["kind"]> {
  if (/^https?:\/\//i.test(source)) return "jaeger";
  let isFile: boolean;
  try {
    isFile = (await stat(source)).isFile();
  } catch (error) {
    throw new Problem(
      `${source}: cannot be read (${reasonOf(error)}); give a folder with logs, a file of recorded OTLP, or Jaeger's address as http://HOST:16686`,
    );
  }
  if (!isFile) return "logs";
  const head = Buffer.alloc(256);
  const chunks = await openChunks({ path: source, gzip: /\.gz$/i.test(source) });
  try {
    const length = await chunks.read(head, 0);
    return isRecording(head.subarray(0, length)) ? "recording" : "logs";
  } finally {
    await chunks.close();
  }
}

interface Counted {
  (trace: OfflineTrace): void;
  traces: number;
}

function counting(take: (trace: OfflineTrace) => void): Counted {
  const counted: Counted = Object.assign(
    (trace: OfflineTrace): void => {
      counted.traces++;
      take(trace);
    },
    { traces: 0 },
  );
  return counted;
}

async function readJaeger(
  url: string,
  options: SourceOptions,
  take: Counted,
  stop?: AbortSignal,
): Promise<SourceReport> {
  const { service, fromMs, toMs, limit, headers } = options;
  await fetchTraces(
    { url, headers, service, fromMs, toMs, limit, timeoutMs: JAEGER_TIMEOUT_MS },
    ({ traceId, resourceSpans }) => take({ traceId, resourceSpans, requests: [] }),
    stop,
  );
  return {
    kind: "jaeger",
    traces: take.traces,
    lines: 0,
    bytes: 0,
    skippedFiles: [],
    damagedFiles: [],
    counts: undefined,
  };
}

async function readRecording(
  path: string,
  take: Counted,
  progress: Progress,
  stop?: AbortSignal,
): Promise<SourceReport> {
  const notes = new ReadingNotes((await stat(path)).size, progress);
  const gatherer = new Gatherer(GATHER_RECORDED, take);
  const stream = new RecordingStream(path, notes, (bytes) => gatherer.spans(decodeTraces(bytes)));
  await readInOrder([stream], TICK_MS, (nowMs) => {
    stop?.throwIfAborted();
    gatherer.tick(nowMs);
    return undefined;
  });
  gatherer.finish();
  return {
    kind: "recording",
    traces: take.traces,
    lines: 0,
    bytes: notes.bytes,
    skippedFiles: [],
    damagedFiles: notes.files,
    counts: undefined,
  };
}

async function readLogs(
  path: string,
  options: SourceOptions,
  take: Counted,
  progress: Progress,
  stop?: AbortSignal,
): Promise<SourceReport> {
  const found = await findLogs(path, options.timezone);
  if (found.logs.length === 0)
    throw new Problem(
      `${path}: no log in it; wanted Omni Proxy's error log or access log, and vLLM's omnilogger files`,
      EXIT.nothing,
    );
  const notes = new ReadingNotes(found.bytes, progress);
  const gatherer = new Gatherer(gatherSettings(options.otlp), take);
  const census = new Census((request) => gatherer.awaits(request));
  const lines = await playLogs(found, options, census, gatherer, notes, stop);
  return {
    kind: "logs",
    traces: take.traces,
    lines,
    bytes: notes.bytes,
    skippedFiles: found.skipped,
    damagedFiles: notes.files,
    counts: census.counts,
  };
}

/** Plays logs into a gatherer. `observer` must tell it of placed spans (`Census` does). @returns lines read */
export async function playLogs(
  { logs, clocks }: Pick<FoundLogs, "logs" | "clocks">,
  options: Pick<SourceOptions, "otlp" | "merge">,
  observer: MergeObserver,
  gatherer: Gatherer,
  notes: ReadingNotes,
  stop?: AbortSignal,
): Promise<number> {
  const settings = { ...REPLAY_SETTINGS, ...options.merge };
  const { lines } = await replay(
    { logs, recordings: options.otlp, clocks },
    settings,
    observer,
    {
      request: (request, figures, groups, rest) =>
        gatherer.request(
          request,
          rest ? undefined : tracedOf(request, figures),
          groups.map((group) => modelOf(group, settings.names.version)),
        ),
      spans: (bytes) => gatherer.spans(decodeTraces(bytes)),
      tick(nowMs) {
        gatherer.tick(nowMs);
        return undefined;
      },
    },
    notes,
    stop,
  );
  gatherer.finish();
  return lines;
}
