/** Traces sent to an OTLP/HTTP endpoint, gzip, one request after the other; what can be tried again is (OTLP 1.11, "OTLP/HTTP Response"). */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { encodeTraces } from "../../pdata/encode.ts";
import { LEN, VARINT, WireCursor, WireError } from "../../pdata/wire.ts";
import { Problem, reasonOf } from "../problem.ts";
import type { OfflineTrace } from "../trace.ts";
import { TraceBatch } from "./batch.ts";
import type { TraceOutput, WrittenFile } from "./output.ts";

export interface EndpointSettings {
  /** http(s) URL; one without a path gets /v1/traces. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** For one request, answer included. */
  readonly timeoutMs: number;
  /** First wait before another try; doubled each time, up to `longestWaitMs`. */
  readonly firstWaitMs: number;
  readonly longestWaitMs: number;
  /** Trying again ends when this has passed since the first try. */
  readonly giveUpMs: number;
}

/** As the Collector's exporters have them, but patience is a minute: someone is watching. */
export const ENDPOINT_SETTINGS: Omit<EndpointSettings, "url" | "headers"> = {
  timeoutMs: 30_000,
  firstWaitMs: 500,
  longestWaitMs: 10_000,
  giveUpMs: 60_000,
};

/** Requests that wait to be sent; with more, reading waits. */
const MOST_WAITING = 4;
const RETRYABLE: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);
const MOST_ANSWER = 300;
const compress = promisify(gzip);

export class OtlpEndpoint implements TraceOutput {
  readonly #url: URL;
  readonly #settings: EndpointSettings;
  readonly #batch = new TraceBatch();
  readonly #stop = new AbortController();
  #waiting = 0;
  #sending: Promise<void> = Promise.resolve();
  #failure: unknown;
  /** Requests that the peer has taken, and those it was asked to take again. */
  sent = 0;
  retries = 0;
  /** Spans that the peer took and said it left out. */
  rejectedSpans = 0;

  /** @throws Problem for a URL that is none */
  constructor(settings: EndpointSettings) {
    this.#settings = settings;
    this.#url = endpointUrl(settings.url);
  }

  write(trace: OfflineTrace): void {
    if (this.#batch.add(trace)) this.#flush();
  }

  ready(): Promise<void> | undefined {
    return this.#waiting > MOST_WAITING || this.#failure !== undefined ? this.#settle() : undefined;
  }

  async finish(first: readonly OfflineTrace[]): Promise<readonly WrittenFile[]> {
    for (const trace of first) this.write(trace);
    this.#flush();
    await this.#settle();
    return [];
  }

  async abort(): Promise<void> {
    this.#stop.abort();
    await this.#sending;
  }

  #flush(): void {
    const taken = this.#batch.take();
    if (taken.length === 0) return;
    this.#waiting++;
    const bytes = encodeTraces(taken);
    this.#sending = this.#sending.then(async () => {
      try {
        if (this.#failure === undefined) await this.#send(await compress(bytes));
      } catch (error) {
        this.#failure = error;
      } finally {
        this.#waiting--;
      }
    });
  }

  async #settle(): Promise<void> {
    await this.#sending;
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #send(body: Uint8Array<ArrayBuffer>): Promise<void> {
    const { firstWaitMs, longestWaitMs, giveUpMs } = this.#settings;
    const began = performance.now();
    for (let waitMs = firstWaitMs; ; waitMs = Math.min(longestWaitMs, waitMs * 2)) {
      const answer = await this.#post(body);
      if (answer.taken) {
        this.sent++;
        this.rejectedSpans += answer.rejectedSpans;
        return;
      }
      const sleepMs = Math.max(answer.retryAfterMs, waitMs * (0.75 + Math.random() / 2));
      const over = performance.now() - began + sleepMs > giveUpMs;
      if (!answer.retryable || over)
        throw new Problem(
          `${this.#url.href}: ${answer.reason}${answer.retryable ? `; tried for ${Math.round((performance.now() - began) / 1000)} s` : ""}. What was sent before stays there`,
        );
      this.retries++;
      await delay(sleepMs, this.#stop.signal);
    }
  }

  async #post(body: Uint8Array<ArrayBuffer>): Promise<Answer> {
    try {
      const response = await fetch(this.#url, {
        method: "POST",
        headers: {
          "content-type": "application/x-protobuf",
          "content-encoding": "gzip",
          ...this.#settings.headers,
        },
        body,
        redirect: "error",
        signal: AbortSignal.any([AbortSignal.timeout(this.#settings.timeoutMs), this.#stop.signal]),
      });
      const answer = Buffer.from(await response.arrayBuffer());
      if (response.ok) return { taken: true, rejectedSpans: rejectedOf(answer) };
      return {
        taken: false,
        retryable: RETRYABLE.has(response.status),
        retryAfterMs: Number(response.headers.get("retry-after") ?? 0) * 1000 || 0,
        reason: `answered ${response.status} ${excerpt(answer)}`.trim(),
      };
    } catch (error) {
      if (this.#stop.signal.aborted) throw new Problem("stopped");
      const cause = (error as { cause?: unknown }).cause;
      return { taken: false, retryable: true, retryAfterMs: 0, reason: reasonOf(cause ?? error) };
    }
  }
}

type Answer =
  | { readonly taken: true; readonly rejectedSpans: number }
  | { readonly taken: false; readonly retryable: boolean; readonly retryAfterMs: number; readonly reason: string };

/** `text` as a URL with a path. @throws Problem */
export function endpointUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Problem(`${text}: no URL; give it as http://HOST:4318`);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new Problem(`${text}: only http and https are sent to; give it as http://HOST:4318`);
  if (url.pathname === "/" || url.pathname === "") url.pathname = "/v1/traces";
  return url;
}

/** ExportTraceServiceResponse.partial_success=1, ExportTracePartialSuccess.rejected_spans=1; 0 for an answer that is none. */
function rejectedOf(answer: Buffer): number {
  try {
    const response = new WireCursor(answer);
    while (response.next()) {
      if (response.field !== 1 || response.wire !== LEN) continue;
      const partial = new WireCursor(answer, response.valueStart, response.valueEnd);
      while (partial.next()) if (partial.field === 1 && partial.wire === VARINT) return partial.varint();
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
  }
  return 0;
}

function excerpt(answer: Buffer): string {
  return answer
    .toString("utf8", 0, MOST_ANSWER)
    .replace(/[^\x20-\x7e]+/g, " ")
    .trim();
}

async function delay(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done, { once: true });
  });
}
