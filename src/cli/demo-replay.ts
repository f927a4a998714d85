/** Plays a capture at a running shim: lines into log files, spans over gRPC. */

import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import type { BuildInfo } from "../kernel/api.ts";
import { type Clock, sleep } from "../telemetry/clock.ts";
import { exportPaths } from "../transport/grpc/otlp-services.ts";
import { GrpcClient } from "../transport/grpc-client.ts";
import type { ReplayStep } from "./demo-capture.ts";
import type { Output } from "./edge.ts";

/** What a replay needs. */
export interface ReplayEnvironment {
  /** Gets carriage returns only when it is a terminal. */
  readonly out: Output;
  readonly clock: Clock;
  readonly build: BuildInfo;
  /** Stops the replay. */
  readonly signal: AbortSignal;
}

/** Between two steps: the whole takes about a second and a half. */
const STEP_MS = 20;
const CALL_MS = 10_000;

/**
 * Takes the steps one after the other: appends to the files in `folder`, calls `address` ("127.0.0.1:4317").
 * @throws GrpcError, or the signal's reason
 */
export async function replay(
  steps: readonly ReplayStep[],
  folder: string,
  address: string,
  environment: ReplayEnvironment,
): Promise<void> {
  const { clock, signal, build, out } = environment;
  const client = new GrpcClient({
    target: `dns:///${address}`,
    tls: undefined,
    gzip: undefined,
    waitForReady: false,
    balancer: "pick_first",
    keepalive: undefined,
    authority: "",
    userAgent: `${build.command}-demo/${build.version}`,
    headers: {},
  });
  const progress = new Progress(steps, out);
  try {
    for (const step of steps) {
      if (step.kind === "log") await appendFile(join(folder, step.file), step.bytes);
      else await client.call(exportPaths().traces, step.bytes, CALL_MS, signal);
      progress.done(step);
      await sleep(clock, STEP_MS, signal);
    }
  } finally {
    client.close();
    progress.end();
  }
}

/** One line that is written over and over on a terminal; one line in all elsewhere. */
class Progress {
  readonly #out: Output;
  readonly #lines: number;
  readonly #requests: number;
  #linesDone = 0;
  #requestsDone = 0;

  constructor(steps: readonly ReplayStep[], out: Output) {
    this.#out = out;
    this.#lines = steps.reduce((sum, step) => sum + (step.kind === "log" ? step.lines : 0), 0);
    this.#requests = steps.filter((step) => step.kind === "spans").length;
  }

  done(step: ReplayStep): void {
    if (step.kind === "log") this.#linesDone += step.lines;
    else this.#requestsDone++;
    if (this.#out.isTTY) this.#out.write(`\r${this.#text()}`);
  }

  end(): void {
    this.#out.write(this.#out.isTTY ? "\n" : `${this.#text()}\n`);
  }

  #text(): string {
    const lines = `${this.#linesDone} of ${this.#lines} log lines`;
    return `replayed ${lines}, ${this.#requestsDone} of ${this.#requests} OTLP requests of vLLM`;
  }
}
