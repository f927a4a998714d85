/** `omnishim probe`: a few streaming requests through the proxy, and whether each became one whole trace. */
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ResourceSpans } from "../../pdata/model.ts";
import { Problem } from "../problem.ts";
import { type Answer, type ProbeRequest, send } from "./send.ts";
import { judge, openStore, type TraceStore, type TraceVerdict } from "./traces.ts";

export interface ProbeOptions {
  /** Of the OpenAI API: http://HOST:PORT/v1. */
  readonly url: string;
  readonly model: string;
  /** Requests a second; they do not wait for each other. */
  readonly rps: number;
  readonly prompts: number;
  readonly maxTokens: number;
  readonly prompt: string;
  readonly headers: Readonly<Record<string, string>>;
  /** A whole answer within. */
  readonly timeoutMs: number;
  /** Jaeger's address or a file of the file exporter; undefined looks at no traces. */
  readonly traces: string | undefined;
  readonly traceHeaders: Readonly<Record<string, string>>;
  /** Traces are waited for so long after the last answer. */
  readonly traceWaitMs: number;
}

export interface ProbedRequest extends Answer {
  readonly id: string;
  readonly traceId: string;
  /** Undefined where no traces were looked at, or the request failed. */
  readonly trace: TraceVerdict | undefined;
}

export interface ProbeReport {
  readonly url: string;
  readonly traces: string | undefined;
  readonly requests: readonly ProbedRequest[];
  readonly failed: number;
  /** Requests that were answered and whose trace is missing or incomplete. */
  readonly untraced: number;
}

/** Shows what is being waited for. */
export interface ProbeProgress {
  show(text: string): void;
  clear(): void;
}

/** Between two looks for traces that are not whole yet. */
const LOOK_MS = 500;

/** Sends the requests, then waits for their traces. @throws Problem; the reason of `stop` when that aborts */
export async function probe(options: ProbeOptions, progress: ProbeProgress, stop?: AbortSignal): Promise<ProbeReport> {
  const url = completionsUrl(options.url);
  const store = options.traces === undefined ? undefined : await openStore(options.traces, options.traceHeaders, stop);
  try {
    const sent = await sendAll(url, options, progress, stop);
    const answered = sent.filter(({ answer }) => answer.problem === undefined).map(({ request }) => request);
    const verdicts = store ? await waitForTraces(store, answered, options.traceWaitMs, progress, stop) : new Map();
    const requests = sent.map(({ request: { id, traceId }, answer }) => ({
      id,
      traceId,
      ...answer,
      trace: verdicts.get(id) as TraceVerdict | undefined,
    }));
    return {
      url: url.href,
      traces: options.traces,
      requests,
      failed: requests.filter(({ problem }) => problem !== undefined).length,
      untraced: requests.filter(({ trace }) => trace !== undefined && trace.state !== "complete").length,
    };
  } finally {
    progress.clear();
  }
}

async function sendAll(
  url: URL,
  options: ProbeOptions,
  progress: ProbeProgress,
  stop: AbortSignal | undefined,
): Promise<{ request: ProbeRequest; answer: Answer }[]> {
  const beganMs = performance.now();
  let done = 0;
  const show = (): void => progress.show(`${done} of ${options.prompts} answered`);
  const one = async (index: number): Promise<{ request: ProbeRequest; answer: Answer }> => {
    const dueMs = beganMs + (index * 1000) / options.rps - performance.now();
    if (dueMs > 0) await sleep(dueMs, undefined, stop ? { signal: stop } : {});
    stop?.throwIfAborted();
    const request = newRequest(url, options);
    const answer = await send(request, stop);
    done++;
    show();
    return { request, answer };
  };
  show();
  try {
    return await Promise.all(Array.from({ length: options.prompts }, (_, index) => one(index)));
  } catch (error) {
    stop?.throwIfAborted();
    throw error;
  }
}

/** The trace id is the request id's bits: the shim gives a request that trace also where the traceparent is lost. */
function newRequest(url: URL, { headers, model, prompt, maxTokens, timeoutMs }: ProbeOptions): ProbeRequest {
  const id = randomUUID();
  const traceId = id.replaceAll("-", "");
  return { url, headers, model, prompt, maxTokens, timeoutMs, id, traceId, spanId: randomBytes(8).toString("hex") };
}

/** Looks until every trace is complete or the time is over. Traces that are complete are not asked for again. */
async function waitForTraces(
  store: TraceStore,
  requests: readonly ProbeRequest[],
  waitMs: number,
  progress: ProbeProgress,
  stop: AbortSignal | undefined,
): Promise<Map<string, TraceVerdict>> {
  const verdicts = new Map<string, TraceVerdict>();
  const untilMs = performance.now() + waitMs;
  for (;;) {
    const open = requests.filter(({ id }) => verdicts.get(id)?.state !== "complete");
    const found: Map<string, readonly ResourceSpans[]> =
      open.length > 0
        ? await store.fetch(
            open.map(({ traceId }) => traceId),
            stop,
          )
        : new Map();
    for (const { id, traceId } of open) verdicts.set(id, judge(found.get(traceId), id));
    const left = requests.filter(({ id }) => verdicts.get(id)?.state !== "complete").length;
    if (left === 0 || performance.now() >= untilMs) return verdicts;
    progress.show(`waiting for ${left} of ${requests.length} traces`);
    await sleep(
      Math.min(LOOK_MS, Math.max(1, untilMs - performance.now())),
      undefined,
      stop ? { signal: stop } : {},
    ).catch(() => stop?.throwIfAborted());
  }
}

function completionsUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Problem(`--url ${text}: no address; give it as http://HOST:PORT/v1`);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new Problem(`--url ${text}: no address of an HTTP API; give it as http://HOST:PORT/v1`);
  url.search = "";
  url.hash = "";
  const path = url.pathname.replace(/\/+$/, "");
  url.pathname = path.endsWith("/chat/completions") ? path : `${path}/chat/completions`;
  return url;
}
