/** One log as a stream of lines in order of their time. */
import type { SourceName } from "../../omni/log-table.ts";
import type { TimedStream } from "../streams.ts";
import type { FoundLog } from "./find-logs.ts";
import { LineReader, type ReaderLimits, type ReaderNotes } from "./line-reader.ts";
import { LineTimes } from "./line-time.ts";

/** Takes one line, `bytes[from, to)`, written at `ms` (unix milliseconds, as far as the line tells). */
export type TakeLine = (source: SourceName, bytes: Buffer, from: number, to: number, ms: number) => void;

/** A stamp this far ahead of the line before is believed when the next one says so too: one damaged line must not put a whole log last. */
const LEAP_MS = 3_600_000;

export class LogStream implements TimedStream {
  nextMs = 0;
  readonly #source: SourceName;
  readonly #reader: LineReader;
  readonly #times: LineTimes;
  readonly #take: TakeLine;
  /** A line is in the reader that was not handed on. */
  #ready = false;
  #leaptMs = Number.NaN;

  constructor(log: FoundLog, limits: ReaderLimits, notes: ReaderNotes, take: TakeLine) {
    this.#source = { host: log.host, path: log.name, instance: "", timezone: log.zone ?? "Local" };
    this.#reader = new LineReader(log.files, limits, notes);
    this.#times = new LineTimes(log.aheadSeconds);
    this.#take = take;
  }

  hand(untilMs: number): boolean {
    const reader = this.#reader;
    const source = this.#source;
    do {
      this.#take(source, reader.bytes, reader.from, reader.to, this.nextMs);
      if (!this.#advance()) return false;
    } while (this.nextMs <= untilMs);
    return true;
  }

  async fill(): Promise<boolean> {
    while (!this.#ready) {
      if (!(await this.#reader.fill())) return false;
      this.#advance();
    }
    return true;
  }

  close(): Promise<void> {
    return this.#reader.close();
  }

  #advance(): boolean {
    const reader = this.#reader;
    this.#ready = reader.next();
    if (!this.#ready) return false;
    const ms = this.#times.read(reader.bytes, reader.from, reader.to);
    // No time, or one before its predecessor's (workers write by turns): it belongs where it stands.
    if (!(ms > this.nextMs)) return true;
    const leaps = ms > this.nextMs + LEAP_MS && this.nextMs > 0;
    if (!leaps || Math.abs(ms - this.#leaptMs) < LEAP_MS) this.nextMs = ms;
    this.#leaptMs = leaps ? ms : Number.NaN;
    return true;
  }
}
