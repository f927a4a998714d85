/** One streaming request, and what it took as the client sees it. */
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { printable } from "../../omni/text.ts";
import { reasonOf } from "../problem.ts";
import { EventReader, readChatEvent } from "./sse.ts";

export interface ProbeRequest {
  /** Of the chat completions. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly model: string;
  readonly prompt: string;
  readonly maxTokens: number;
  readonly timeoutMs: number;
  /** X-Request-Id: a UUID. */
  readonly id: string;
  /** The same bits, 32 hex digits: the trace that the request is to be found as. */
  readonly traceId: string;
  /** 16 hex digits. */
  readonly spanId: string;
}

/** Times are seconds from when the request was begun, by the monotonic clock; undefined where it did not come so far. */
export interface Answer {
  readonly status: number | undefined;
  /** Until the first part of the answer's text. */
  readonly ttft: number | undefined;
  /** From there on for each further token; undefined with fewer than two. */
  readonly tpot: number | undefined;
  /** Until the answer ended. */
  readonly endToEnd: number | undefined;
  /** As the server counts them, else events with text. */
  readonly tokens: number;
  readonly problem: string | undefined;
}

const MOST_EXCERPT = 200;
const MOST_BODY = 64 * 1024;

/** Sends one and reads its answer to the end, over a connection of its own. Rejects only with the reason of `stop`. */
export async function send(request: ProbeRequest, stop: AbortSignal | undefined): Promise<Answer> {
  const measured = new Measured();
  const timeout = AbortSignal.timeout(request.timeoutMs);
  try {
    await stream(request, measured, AbortSignal.any([timeout, ...(stop ? [stop] : [])]));
  } catch (error) {
    stop?.throwIfAborted();
    measured.problem ??= timeout.aborted
      ? `no whole answer within ${request.timeoutMs / 1000} s (--timeout)`
      : measured.status === undefined
        ? `${request.url.origin} cannot be reached: ${reasonOf(error)}`
        : `the answer broke off: ${reasonOf(error)}`;
  }
  return measured.answer();
}

async function stream(request: ProbeRequest, measured: Measured, signal: AbortSignal): Promise<void> {
  const body = JSON.stringify({
    model: request.model,
    messages: [{ role: "user", content: request.prompt }],
    max_tokens: request.maxTokens,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  });
  const headers = {
    accept: "text/event-stream",
    "content-type": "application/json",
    ...request.headers,
    "x-request-id": request.id,
    traceparent: `00-${request.traceId}-${request.spanId}-01`,
  };
  const connect = request.url.protocol === "https:" ? requestHttps : requestHttp;
  measured.begin();
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    connect(request.url, { method: "POST", headers, signal, agent: false }, resolve).on("error", reject).end(body);
  });
  measured.status = response.statusCode;
  const type = response.headers["content-type"] ?? "no content-type";
  if (response.statusCode !== 200) {
    const hint = response.statusCode === 404 ? "; is the path of --url right, such as http://HOST:8000/v1?" : "";
    measured.problem = `HTTP ${response.statusCode}: ${await excerpt(response)}${hint}`;
    return;
  }
  if (!/^text\/event-stream\b/i.test(type)) {
    measured.problem = `it does not stream: ${printable(type)} instead of text/event-stream: ${await excerpt(response)}`;
    return;
  }
  const reader = new EventReader();
  for await (const piece of response) {
    const now = performance.now();
    for (const data of reader.take(piece as Uint8Array)) measured.event(data, now);
  }
  measured.end();
}

/** What is known of an answer as it comes. */
class Measured {
  status: number | undefined;
  problem: string | undefined;
  #beganMs = 0;
  #firstMs: number | undefined;
  #lastMs: number | undefined;
  #endMs: number | undefined;
  #texts = 0;
  #tokens: number | undefined;
  #done = false;

  begin(): void {
    this.#beganMs = performance.now();
  }

  event(data: string, nowMs: number): void {
    const event = readChatEvent(data);
    if (!event) {
      this.problem ??= `an event is no JSON: ${printable(data.slice(0, MOST_EXCERPT))}`;
      return;
    }
    if (event.error !== undefined)
      this.problem ??= `the answer has an error: ${printable(event.error.slice(0, MOST_EXCERPT))}`;
    if (event.done) this.#done = true;
    this.#tokens = event.tokens ?? this.#tokens;
    if (!event.text) return;
    this.#texts++;
    this.#firstMs ??= nowMs;
    this.#lastMs = nowMs;
  }

  end(): void {
    this.#endMs = performance.now();
    if (this.#texts === 0) this.problem ??= "the answer has no text";
    else if (!this.#done) this.problem ??= "the answer broke off: no [DONE] at its end";
  }

  answer(): Answer {
    const tokens = this.#tokens ?? this.#texts;
    const since = (ms: number | undefined): number | undefined =>
      ms === undefined ? undefined : (ms - this.#beganMs) / 1000;
    const more = this.#lastMs !== undefined && this.#firstMs !== undefined ? this.#lastMs - this.#firstMs : undefined;
    return {
      status: this.status,
      ttft: since(this.#firstMs),
      tpot: more !== undefined && tokens > 1 ? more / 1000 / (tokens - 1) : undefined,
      endToEnd: since(this.#endMs),
      tokens,
      problem: this.problem,
    };
  }
}

/** The beginning of a body, on one line. */
async function excerpt(response: IncomingMessage): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const piece of response) {
    text += decoder.decode(piece as Uint8Array, { stream: true });
    if (text.length > MOST_BODY) break;
  }
  const line = printable(text.slice(0, MOST_EXCERPT).replace(/\s+/g, " ").trim());
  return line === "" ? "(no body)" : line;
}
