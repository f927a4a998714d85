/** The connector: gives the merge (src/omni) its clock, its timer and its consumers. */
import type { CallContext, Component, Consumer, Consumers, Host, Settings, Signal } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { Merge, type Output } from "../../omni/merge.ts";
import type { Logs, Traces } from "../../pdata/payload.ts";
import { sleep, type Timer } from "../../telemetry/clock.ts";
import { type RequestMergeConfig, rulesOf } from "./config.ts";
import { LogRecords } from "./log-records.ts";
import { MergeTelemetry } from "./telemetry.ts";

/** With no line for this long, lines are not expected and spans do not wait for them. */
const LINES_EXPECTED_MS = 60_000;
/** Never look more often than this. */
const LEAST_TICK_MS = 5;
/** How often the census speaks, when it has something to say. */
const CENSUS_MS = 60_000;
/** Between two tries to hand on traces that the next stage refused. */
const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 5_000;

const NO_CALL: CallContext = {};

/**
 * Modes: taking (start .. shutdown) -> draining (shutdown) -> stopped. While the next stage refuses, finished traces
 * wait in the table; when that is full too, lines are refused, and the log file itself is the queue.
 */
export class RequestMerge implements Component {
  readonly consumers: Consumers;
  readonly #config: RequestMergeConfig;
  readonly #settings: Settings;
  readonly #next: Consumer<"traces">;
  readonly #fedByLogs: boolean;
  readonly #merge: Merge;
  readonly #telemetry: MergeTelemetry;
  readonly #records = new LogRecords();
  readonly #held = new Set<(reason: ConsumeError) => void>();
  /** What could not be handed on yet; nothing more leaves the table before it. */
  #stuck: Promise<void> | undefined;
  #timer: Timer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  #census: Timer | undefined;
  #lastLineMs: number;
  #stopping: AbortSignal | undefined;

  constructor(config: RequestMergeConfig, settings: Settings, next: Consumers, fedBy: readonly Signal[]) {
    this.#config = config;
    this.#settings = settings;
    this.#next = next.traces as Consumer<"traces">;
    this.#fedByLogs = fedBy.includes("logs");
    this.#lastLineMs = this.#now();
    this.#telemetry = new MergeTelemetry(settings.metrics);
    const roleName = (role: "prefill" | "decode"): string => config.roles[role]["service.name"]?.[0] ?? `vllm-${role}`;
    this.#merge = new Merge(
      {
        roles: rulesOf(config.roles),
        names: {
          service: config.service_name,
          role: { prefill: roleName("prefill"), decode: roleName("decode") },
          version: settings.build.version,
        },
        spanWaitMs: config.span_wait,
        waitMs: config.wait,
        requestTimeoutMs: config.request_timeout,
        maxRequests: config.max_requests,
        rememberMs: config.remember.time,
        rememberCount: config.remember.count,
        clockSkew: config.clock_skew,
        unsampled: config.unsampled,
      },
      this.#telemetry,
    );
    settings.metrics.observed(
      "omnishim_open_requests",
      "Requests whose trace was not sent yet.",
      () => this.#merge.openRequests,
    );
    settings.metrics.observed(
      "omnishim_held_batches",
      "Batches of spans that wait for the lines of their requests.",
      () => this.#merge.heldBatches,
    );
    this.consumers = {
      logs: { mutatesData: false, consume: (batch) => this.#takeLogs(batch) },
      traces: { mutatesData: false, consume: (batch, call) => this.#takeTraces(batch, call) },
    };
  }

  async start(_host: Host): Promise<void> {
    this.#lastLineMs = this.#now();
    this.#sayCensusLater();
    if (!this.#fedByLogs)
      this.#settings.logger.info(
        "No logs pipeline feeds this connector: it joins prefill and decode spans alone. Add Omni Proxy's log for whole traces",
      );
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    this.#stopping = deadline;
    this.#timer?.cancel();
    this.#census?.cancel();
    await this.#stuck;
    for (let output = this.#merge.drain(this.#now()); output; output = this.#merge.drain(this.#now()))
      await this.#handOn(output);
    // Held batches were let go by the first drain; whoever still waits is told to try again.
    for (const reject of this.#held) reject(new ConsumeError("retryable", "request_merge is shutting down"));
  }

  #now(): number {
    return this.#settings.clock.monotonic();
  }

  async #takeLogs(batch: Logs): Promise<void> {
    if (this.#stuck && this.#merge.openRequests >= this.#config.max_requests) {
      throw new ConsumeError(
        "retryable",
        `request_merge: max_requests (${this.#config.max_requests}) requests wait to be sent and the next stage refuses them`,
        { retryAfterMs: 1000 },
      );
    }
    const now = this.#now();
    this.#records.read(batch.bytes, (source, bytes, from, to) => {
      this.#merge.readLine(source, bytes, from, to, now);
    });
    this.#lastLineMs = now;
    this.#arm();
  }

  async #takeTraces(batch: Traces, call: CallContext): Promise<void> {
    const now = this.#now();
    const hold = this.#fedByLogs && !this.#stopping && now - this.#lastLineMs <= LINES_EXPECTED_MS;
    const output = await new Promise<Output>((resolve, reject) => {
      const settle = (output: Output): void => {
        this.#held.delete(reject);
        resolve(output);
      };
      this.#held.add(reject);
      this.#merge.takeSpans(batch.bytes, batch.items, now, hold, settle);
      this.#arm();
    });
    await this.#next.consume({ signal: "traces", ...output }, call);
  }

  /** Sets the one timer to when the merge has something to do next. */
  #arm(): void {
    if (this.#stopping) return;
    const due = this.#stuck ? this.#merge.heldDueMs : this.#merge.nextDueMs();
    if (due === undefined || (this.#timer && this.#timerDue <= due)) return;
    this.#timer?.cancel();
    this.#timerDue = due;
    this.#timer = this.#settings.clock.after(Math.max(LEAST_TICK_MS, due - this.#now()), () => {
      this.#timer = undefined;
      this.#tick();
      this.#arm();
    });
  }

  #tick(): void {
    const now = this.#now();
    this.#merge.expireHeld(now);
    if (this.#stuck) return;
    this.#stuck = this.#release().finally(() => {
      this.#stuck = undefined;
      this.#arm();
    });
  }

  async #release(): Promise<void> {
    for (let output = this.#merge.due(this.#now()); output; output = this.#merge.due(this.#now()))
      await this.#handOn(output);
  }

  /** Hands traces on until the next stage takes them; given up only when it never will, or when the process stops. */
  async #handOn(output: Output): Promise<void> {
    for (let waitMs = FIRST_RETRY_MS; ; waitMs = Math.min(LONGEST_RETRY_MS, waitMs * 2)) {
      try {
        return await this.#next.consume({ signal: "traces", ...output }, NO_CALL);
      } catch (error) {
        const refused = ConsumeError.from(error);
        if (refused.disposition === "permanent" || this.#stopping?.aborted) return this.#lose(output, refused);
        await sleep(this.#settings.clock, Math.max(waitMs, refused.retryAfterMs ?? 0), this.#stopping).catch(
          () => undefined,
        );
      }
    }
  }

  #lose(output: Output, error: ConsumeError): void {
    this.#settings.metrics
      .counter("omnishim_lost_spans", "Log-derived spans that the next stage refused for good.")
      .add(output.items);
    this.#settings.logger.error(
      "The next stage refused log-derived spans for good; they are lost. Its own log lines say why",
      { spans: output.items, error },
    );
  }

  #sayCensusLater(): void {
    this.#census = this.#settings.clock.after(CENSUS_MS, () => {
      const gaps = this.#telemetry.takeGaps();
      if (gaps.withoutPrefillSpan > 0 || gaps.withoutDecodeSpan > 0) {
        this.#settings.logger.warn(
          "Requests ended well and vLLM sent no span for them. Is --otlp-traces-endpoint set on every instance?",
          {
            requests: gaps.requests,
            without_prefill_span: gaps.withoutPrefillSpan,
            without_decode_span: gaps.withoutDecodeSpan,
            examples: gaps.examples,
          },
        );
      }
      this.#sayCensusLater();
    });
  }
}
