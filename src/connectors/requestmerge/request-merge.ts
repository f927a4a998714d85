/** The connector: gives the merge (src/omni) its clock, its timer and its consumers. */
import { crc32 } from "node:zlib";
import type { CallContext, Component, Consumer, Consumers, Host, Settings, Signal } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { storageOf } from "../../kernel/storage.ts";
import type { SourceName } from "../../omni/log-table.ts";
import { Merge, type NamedSpan, type Output, type SpanOutput } from "../../omni/merge.ts";
import type { Logs, Traces } from "../../pdata/payload.ts";
import { sleep, type Timer } from "../../telemetry/clock.ts";
import { Throttle } from "../../telemetry/throttle.ts";
import { type RequestMergeConfig, rulesOf } from "./config.ts";
import { Journal } from "./journal.ts";
import { LogRecords } from "./log-records.ts";
import { type BatchHashes, Repeats, type Skips } from "./repeats.ts";
import { ReplayObserver, type SentRequests } from "./replay-observer.ts";
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

/** How often it is looked what the journal may forget. */
const FORGET_EVERY_MS = 1_000;

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
  readonly #observer: ReplayObserver;
  readonly #throttle: Throttle;
  readonly #records = new LogRecords();
  readonly #held = new Set<(reason: ConsumeError) => void>();
  /** What could not be handed on yet; nothing more leaves the table before it. */
  #stuck: Promise<void> | undefined;
  #timer: Timer | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  #census: Timer | undefined;
  #journal: Journal | undefined;
  readonly #repeats = new Repeats();
  #forgotMs = 0;
  /** The oldest position of what is being handed on: it may be needed again until the next stage has it. */
  #handingOn = Number.POSITIVE_INFINITY;
  #lastLineMs: number;
  #stopping: AbortSignal | undefined;

  constructor(config: RequestMergeConfig, settings: Settings, next: Consumers, fedBy: readonly Signal[]) {
    this.#config = config;
    this.#settings = settings;
    this.#next = next.traces as Consumer<"traces">;
    this.#fedByLogs = fedBy.includes("logs");
    this.#lastLineMs = this.#now();
    this.#telemetry = new MergeTelemetry(settings.metrics);
    this.#observer = new ReplayObserver(this.#telemetry, config.storage !== undefined);
    this.#throttle = new Throttle(settings.clock);
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
      this.#observer,
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

  async start(host: Host): Promise<void> {
    this.#lastLineMs = this.#now();
    await this.#openJournal(host);
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
    // With a journal, requests that have not ended go on after the restart.
    const drain = (): Output | undefined => this.#merge.drain(this.#now(), this.#journal !== undefined);
    for (let output = drain(); output; output = drain()) await this.#handOn(output);
    // Held batches were let go by the first drain; whoever still waits is told to try again.
    for (const reject of this.#held) reject(new ConsumeError("retryable", "request_merge is shutting down"));
    await this.#journal?.close();
  }

  /** Takes up the requests that an earlier process had not sent. */
  async #openJournal(host: Host): Promise<void> {
    const { storage, max_storage_mib } = this.#config;
    if (storage === undefined) return;
    const extension = storageOf(host, storage);
    const log = await extension.openLog({
      kind: "connector",
      id: this.#settings.id,
      purpose: "requests",
    });
    const now = this.#now();
    // Half of the storage is left to the sending queues: were it full of lines, no trace could leave and none be forgotten.
    const journal = new Journal(log, () => Math.min(max_storage_mib * 1024 * 1024, extension.capacityBytes / 2));
    this.#observer.isReplaying = true;
    await journal.read(
      {
        sent: (marks) => this.#merge.resume(marks),
        lines: (batch, position, counts) => {
          const hashes = this.#hash(batch);
          const skips: Skips = new Map([...hashes.keys()].map((source, index) => [source, counts[index] ?? 0]));
          this.#readLines(batch, position, now, skips);
          this.#repeats.expect(hashes, skips);
        },
        span: (span) => this.#merge.resumeSpan(span, now),
        unreadable: (error) =>
          this.#settings.logger.warn(
            "A record of the journal of open requests cannot be read and is left out: was it written by another version?",
            { error },
          ),
      },
      now,
    );
    this.#merge.resumed(now);
    this.#observer.isReplaying = false;
    this.#journal = journal;
    if (this.#merge.openRequests > 0)
      this.#settings.logger.info("Going on with the requests that were open when the last run stopped", {
        requests: this.#merge.openRequests,
      });
    this.#arm();
  }

  #now(): number {
    return this.#settings.clock.monotonic();
  }

  async #takeLogs(batch: Logs): Promise<void> {
    this.#refuseWhileStuck();
    const hashes = this.#repeats.isWatching ? this.#hash(batch.bytes) : undefined;
    const skips = hashes && this.#repeats.find(hashes);
    const counts = hashes && skips ? [...hashes.keys()].map((source) => skips.get(source) ?? 0) : [];
    const position = (await this.#journal?.writeLines(batch.bytes, counts, this.#now())) ?? 0;
    if (hashes) this.#repeats.take(hashes);
    const now = this.#now();
    this.#readLines(batch.bytes, position, now, skips);
    this.#lastLineMs = now;
    this.#arm();
    this.#forgetNowAndThen(now);
  }

  /** While nothing leaves, the log file is the queue of what does not fit. @throws ConsumeError */
  #refuseWhileStuck(): void {
    if (!this.#stuck) return;
    const { max_requests, max_storage_mib } = this.#config;
    const full =
      this.#merge.openRequests >= max_requests
        ? `max_requests (${max_requests}) requests`
        : this.#journal?.isFull
          ? `the lines of as many requests as max_storage_mib (${max_storage_mib}) holds`
          : undefined;
    if (full !== undefined)
      throw new ConsumeError(
        "retryable",
        `request_merge: ${full} wait to be sent and the next stage does not take them`,
        { retryAfterMs: 1000 },
      );
  }

  #readLines(batch: Uint8Array, position: number, now: number, skips?: Skips): void {
    this.#merge.position = position;
    const left = new Map(skips);
    this.#records.read(batch, (source, bytes, from, to) => {
      const again = left.get(source) ?? 0;
      if (again > 0) left.set(source, again - 1);
      else this.#merge.readLine(source, bytes, from, to, now);
    });
  }

  #hash(batch: Uint8Array): BatchHashes {
    const hashes = new Map<SourceName, number[]>();
    this.#records.read(batch, (source, bytes, from, to) => {
      const hash = crc32(bytes.subarray(from, to));
      const known = hashes.get(source);
      if (known) known.push(hash);
      else hashes.set(source, [hash]);
    });
    return hashes;
  }

  /** Lets the journal forget what no open request needs. */
  #forgetNowAndThen(now: number): void {
    if (!this.#journal || (now - this.#forgotMs < FORGET_EVERY_MS && !this.#journal.isFull)) return;
    this.#forgotMs = now;
    const unprotected = this.#journal.forget(
      Math.min(this.#handingOn, this.#merge.oldestPosition(now, LINES_EXPECTED_MS)),
      now,
      this.#stuck === undefined,
    );
    if (unprotected > 0) this.#sayUnprotected(unprotected);
  }

  /**
   * Nothing here may wait while it holds on to what a batch was read into: until the next stage has taken the batch all of it
   * would be copied by every garbage collection (a fifth of the time for 64 spans a request).
   */
  #takeTraces(batch: Traces, call: CallContext): Promise<void> {
    const now = this.#now();
    const hold = this.#fedByLogs && !this.#stopping && now - this.#lastLineMs <= LINES_EXPECTED_MS;
    let decided: SpanOutput | undefined;
    let settle = (output: SpanOutput): void => {
      decided = output;
    };
    this.#merge.takeSpans(batch.bytes, batch.items, now, hold, (output) => settle(output));
    this.#arm();
    if (decided) return this.#pass(decided, call);
    return new Promise<SpanOutput>((resolve, reject) => {
      this.#held.add(reject);
      settle = (output) => {
        this.#held.delete(reject);
        resolve(output);
      };
    }).then((output) => this.#pass(output, call));
  }

  #pass({ bytes, items, named }: SpanOutput, call: CallContext): Promise<void> {
    const passed = this.#next.consume({ signal: "traces", bytes, items }, call);
    const journal = this.#journal;
    if (!journal) return passed;
    return passed.then(() => this.#keep(named(), journal));
  }

  async #keep(spans: readonly NamedSpan[], journal: Journal): Promise<void> {
    if (spans.length > 0)
      // They are on their way already: to refuse them now would only bring them twice. The storage says what is wrong.
      await journal.writeSpans(spans, this.#now()).catch(() => undefined);
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
    const sent = this.#observer.takeSent();
    this.#handingOn = Math.min(this.#handingOn, sent.oldest);
    for (let waitMs = FIRST_RETRY_MS; ; waitMs = Math.min(LONGEST_RETRY_MS, waitMs * 2)) {
      try {
        await this.#next.consume({ signal: "traces", ...output }, NO_CALL);
        return await this.#noteSent(sent);
      } catch (error) {
        const refused = ConsumeError.from(error);
        if (refused.disposition === "permanent" || (this.#stopping?.aborted && !this.#journal)) {
          this.#lose(output, refused);
          return await this.#noteSent(sent);
        }
        if (this.#stopping?.aborted) return; // they are in the journal, and not marked as sent
        await sleep(this.#settings.clock, Math.max(waitMs, refused.retryAfterMs ?? 0), this.#stopping).catch(
          () => undefined,
        );
      }
    }
  }

  /** Writes down which requests were sent. Where that fails they are sent again after a crash, with the same ids. */
  async #noteSent({ marks }: SentRequests): Promise<void> {
    if (this.#journal && marks.length > 0) await this.#journal.writeSent(marks, this.#now()).catch(() => undefined);
    if (!this.#stopping) this.#handingOn = Number.POSITIVE_INFINITY;
    this.#forgetNowAndThen(this.#now());
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

  #sayUnprotected(records: number): void {
    this.#settings.metrics
      .counter(
        "omnishim_unprotected_batches",
        "Batches of log lines that max_storage_mib let go although their requests were not sent: a crash would lose them.",
      )
      .add(records);
    const passed = this.#throttle.pass("unprotected", records);
    if (passed)
      this.#settings.logger.warn(
        "The journal of open requests is full: the oldest requests would be incomplete after a crash. Raise max_storage_mib, or lower request_timeout",
        { max_storage_mib: this.#config.max_storage_mib, batches: passed.weight },
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
