/**
 * Plays logs and recorded spans through the merge of the live path, with the log's time for its clock: the same traces
 * with the same ids (docs/offline.md).
 */
import type { HostClocks } from "../omni/clock.ts";
import type { Figures } from "../omni/derive.ts";
import { Merge, type MergeObserver, type MergeSettings, type Output } from "../omni/merge.ts";
import type { ProxyRequest } from "../omni/proxy-request.ts";
import { groupSpans, type Names, type RequestWriter, type ResourceGroup } from "../omni/trace-writer.ts";
import type { FoundLog } from "./files/find-logs.ts";
import type { ReaderLimits, ReaderNotes } from "./files/line-reader.ts";
import { LogStream } from "./files/log-stream.ts";
import { RecordingStream } from "./otlp/recording.ts";
import { readInOrder, type TimedStream } from "./streams.ts";

/** What a replay gives. All calls are in order of log time. */
export interface ReplaySink {
  /** A request is finished, or (`rest`) its end was read after it was taken for lost. `request.identity` is given. */
  request(request: ProxyRequest, figures: Figures, groups: readonly ResourceGroup[], rest: boolean): void;
  /** Encoded spans of a recording, each where the merge has put it. */
  spans(bytes: Uint8Array): void;
  /** The log's time has moved on. Reading goes on when this resolves. */
  tick(nowMs: number): Promise<void> | undefined;
}

/** What is played. */
export interface ReplayInput {
  readonly logs: readonly FoundLog[];
  /** Paths of recorded OTLP (otlp/recording.ts). */
  readonly recordings: readonly string[];
  /** What is known of the hosts' clocks. */
  readonly clocks: HostClocks;
}

/** The connector's defaults, but that a span waits for its lines as long as a request for its spans: log time passes at once. */
export const REPLAY_SETTINGS: MergeSettings = {
  roles: { prefill: new Map(), decode: new Map() },
  names: { service: "omni-proxy", role: { prefill: "vllm-prefill", decode: "vllm-decode" }, version: "" },
  spanWaitMs: 10_000,
  waitMs: 10_000,
  requestTimeoutMs: 900_000,
  maxRequests: 100_000,
  rememberMs: 900_000,
  rememberCount: 500_000,
  clockSkew: "annotate",
  unsampled: "emit",
};

/** Without recordings only lines of other logs can come after an end, and not much later: engine-log.ts takes a second's difference. */
const LINES_WAIT_MS = 3_000;
/** How often, in log time, the merge looks for what is due. */
const TICK_MS = 250;
/** All read buffers together, about; a log has at least the smaller and at most the larger chunk. */
const BUFFERS_BYTES = 32 * 1024 * 1024;
const LEAST_CHUNK = 16 * 1024;
const MOST_CHUNK = 256 * 1024;
/** A line beyond this is cut. */
const MOST_LINE = 1024 * 1024;
const NO_BYTES = new Uint8Array(0);

/** Reads everything in order of time and hands on what the merge makes of it. @returns lines read @throws the reason of `stop` when it aborts */
export async function replay(
  input: ReplayInput,
  settings: MergeSettings,
  observer: MergeObserver,
  sink: ReplaySink,
  notes: ReaderNotes,
  stop?: AbortSignal,
): Promise<{ readonly lines: number }> {
  const waitMs = input.recordings.length > 0 ? settings.waitMs : Math.min(settings.waitMs, LINES_WAIT_MS);
  const merge = new Merge(
    { ...settings, waitMs, hostClocks: input.clocks },
    observer,
    () => new SinkWriter(settings.names, sink),
  );
  let lines = 0;
  let nowMs = 0;
  const limits: ReaderLimits = {
    chunkBytes: Math.min(MOST_CHUNK, Math.max(LEAST_CHUNK, Math.floor(BUFFERS_BYTES / (input.logs.length || 1)))),
    maxLineBytes: MOST_LINE,
  };
  const pass = (output: Output): void => sink.spans(output.bytes);
  const streams: TimedStream[] = [
    ...input.logs.map(
      (log) =>
        new LogStream(log, limits, notes, (source, bytes, from, to, ms) => {
          if (ms > nowMs) nowMs = ms;
          lines++;
          merge.readLine(source, bytes, from, to, nowMs);
        }),
    ),
    ...input.recordings.map(
      (path) =>
        new RecordingStream(path, notes, (bytes, items, ms) => {
          if (ms > nowMs) nowMs = ms;
          merge.takeSpans(bytes, items, nowMs, input.logs.length > 0, pass);
        }),
    ),
  ];
  await readInOrder(streams, TICK_MS, (tickMs) => {
    stop?.throwIfAborted();
    merge.expireHeld(tickMs);
    while (merge.due(tickMs));
    return sink.tick(tickMs);
  });
  while (merge.drain(nowMs)) await sink.tick(nowMs);
  return { lines };
}

/** Hands finished requests to the sink instead of encoding them. */
class SinkWriter implements RequestWriter {
  items = 0;
  readonly #names: Names;
  readonly #sink: ReplaySink;

  constructor(names: Names, sink: ReplaySink) {
    this.#names = names;
    this.#sink = sink;
  }

  add(
    request: ProxyRequest,
    figures: Figures,
    extra: Parameters<RequestWriter["add"]>[2],
    without?: ReadonlySet<string>,
  ): ReadonlySet<string> {
    let groups = groupSpans(request, figures, extra, this.#names);
    if (without)
      groups = groups.map(({ resource, spans }) => ({
        resource,
        spans: spans.filter(({ name }) => !without.has(name)),
      }));
    this.#sink.request(request, figures, groups, without !== undefined);
    const names = new Set<string>();
    for (const { spans } of groups) for (const { name } of spans) names.add(name);
    this.items += Math.max(1, names.size);
    return names;
  }

  finish(): Output | undefined {
    return this.items === 0 ? undefined : { bytes: NO_BYTES, items: this.items };
  }
}
