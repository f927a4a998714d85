import { closeSync, copyFileSync, ftruncateSync, openSync, renameSync, writeSync } from "node:fs";
import { requestLines } from "../kit/made-up.ts";

/** A request of the made-up proxy, as its log tells it. */
export interface LoggedRequest {
  readonly id: string;
  /** The trace that its spans belong to, and the parent and span id of its root where the traceparent gives them. */
  readonly traceId: string;
  readonly traceparent: string | undefined;
  readonly isInjected: boolean;
  /** Seconds since boot. */
  readonly at: number;
  /** How many times longer than 0.2 s it takes. */
  readonly stretch: number;
}

/** A request starts so often. */
const START_MS = 25;
const TICK_MS = 10;
/** What an nginx that was told to reopen still writes into the renamed file. */
const REOPEN_MS = 60;
/** Most requests are short; a long one lives through several deaths of the reader. */
const STRETCHES = [1, 1, 1, 1, 5, 20];

/**
 * Omni Proxy's error log while it is being written: requests that overlap, each line at its time. Times count from when
 * this was made.
 */
export class ProxyLog {
  readonly #path: string;
  readonly #random: () => number;
  readonly #onEnd: (request: LoggedRequest) => void;
  readonly #began = performance.now();
  readonly #due: { at: number; bytes: Buffer; ended?: LoggedRequest; slot?: number }[] = [];
  readonly #slots: number[] = Array.from({ length: 1024 }, (_, slot) => slot);
  readonly #timer: NodeJS.Timeout;
  readonly #idle: (() => void)[] = [];
  #file: number;
  #connection = 0;
  #rotations = 0;
  #nextStart = 0;
  #isPaused = false;
  #isEnding = false;
  /** Lines written so far. */
  lines = 0;
  /** Requests whose last line was written. */
  readonly ended: LoggedRequest[] = [];

  /** @param onEnd told of each request whose last line was just written */
  constructor(path: string, random: () => number, onEnd: (request: LoggedRequest) => void) {
    this.#path = path;
    this.#random = random;
    this.#onEnd = onEnd;
    this.#file = openSync(path, "a");
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** logrotate's way, with nginx told to reopen a little later. */
  async rotate(): Promise<void> {
    renameSync(this.#path, `${this.#path}-${String(++this.#rotations).padStart(4, "0")}`);
    await new Promise((resolve) => setTimeout(resolve, REOPEN_MS));
    closeSync(this.#file);
    this.#file = openSync(this.#path, "a");
  }

  /**
   * logrotate's `copytruncate`. What is written between the reader's last look and the truncation is lost to any reader,
   * so nothing is written until `isRead` says that every line was read.
   */
  async copyTruncate(isRead: (lines: number) => Promise<boolean>): Promise<void> {
    this.#isPaused = true;
    try {
      while (!(await isRead(this.lines))) await new Promise((resolve) => setTimeout(resolve, 20));
      copyFileSync(this.#path, `${this.#path}-${String(++this.#rotations).padStart(4, "0")}`);
      ftruncateSync(this.#file, 0);
    } finally {
      this.#isPaused = false;
    }
  }

  /** No new requests; resolves when the last line of all that began is written. */
  async finish(): Promise<void> {
    this.#isEnding = true;
    if (this.#due.length > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    this.close();
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#timer);
    if (this.#file >= 0) closeSync(this.#file);
    this.#file = -1;
  }

  #tick(): void {
    if (this.#isPaused) return;
    const now = performance.now() - this.#began;
    for (; this.#nextStart <= now && !this.#isEnding; this.#nextStart += START_MS) this.#begin(this.#nextStart);
    const due = this.#due.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at);
    if (due.length === 0) return;
    this.#due.splice(0, this.#due.length, ...this.#due.filter(({ at }) => at > now));
    for (const { bytes } of due) {
      writeSync(this.#file, bytes);
      this.lines += bytes.toString("latin1").split("\n").length - 1;
    }
    for (const { ended, slot } of due) {
      if (!ended) continue;
      this.#slots.push(slot as number);
      this.ended.push(ended);
      this.#onEnd(ended);
    }
    if (this.#isEnding && this.#due.length === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #begin(atMs: number): void {
    const slot = this.#slots.shift();
    if (slot === undefined) return;
    const hex = (digits: number): string =>
      Array.from({ length: digits }, () => Math.floor(this.#random() * 16).toString(16)).join("");
    const id = `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`;
    const kind = this.#random();
    const traceparent = kind < 0.5 ? undefined : `00-1${hex(31)}-1${hex(15)}-01`;
    const request: LoggedRequest = {
      id,
      traceId: traceparent?.split("-")[1] ?? id.replaceAll("-", ""),
      traceparent,
      isInjected: kind < 0.75,
      at: 1000 + atMs / 1000,
      stretch: STRETCHES[Math.floor(this.#random() * STRETCHES.length)] as number,
    };
    const lines = requestLines({
      id,
      connection: ++this.#connection,
      at: request.at,
      stretch: request.stretch,
      slot,
      ...(traceparent === undefined ? {} : { traceparent, injected: request.isInjected }),
    }).map((line) => Buffer.concat([line, Buffer.from("\n")]));
    let at = atMs;
    lines.forEach((bytes, index) => {
      const stamp = /Timestamp:(\d+\.\d+);/.exec(bytes.toString("latin1"));
      const since = stamp ? Number(stamp[1]) - 1000 : 0;
      if (since > 0 && since < 1e6) at = since * 1000;
      // The proxy writes a scheduler line and the one that names its slot together.
      const before = this.#due.at(-1);
      if (index > 0 && before && bytes.includes("Schedule to")) before.bytes = Buffer.concat([before.bytes, bytes]);
      else this.#due.push({ at, bytes, ...(index === lines.length - 1 ? { ended: request, slot } : {}) });
    });
  }
}
