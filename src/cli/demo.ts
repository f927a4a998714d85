/** `omnishim demo`: the real program on a bundled capture, its merged traces in the terminal. Needs nothing but Node. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { factories } from "../components.ts";
import { parseYaml } from "../config/parse.ts";
import type { ExporterFactory } from "../kernel/api.ts";
import { makePlan, type Plan } from "../kernel/plan.ts";
import { Service } from "../kernel/service.ts";
import { terminalOptions } from "../omni/terminal.ts";
import { renderTraces } from "../omni/waterfall.ts";
import { decodeTraces } from "../pdata/decode.ts";
import type { ResourceSpans } from "../pdata/model.ts";
import { systemClock } from "../telemetry/clock.ts";
import { createLogger, type Logger } from "../telemetry/logger.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { buildInfo } from "./build-info.ts";
import { LOG_FILES, type ReplayStep, readCapture } from "./demo-capture.ts";
import { replay } from "./demo-replay.ts";
import { describeCensus, NEXT_STEPS, takeCensus } from "./demo-report.ts";
import { CommandError, type Edge, StopSignal } from "./edge.ts";

const STOP_MS = 5_000;
/** A shell's exit codes for a command that a signal ended. */
const SIGNAL_CODES: Readonly<Record<string, number>> = { SIGINT: 130, SIGTERM: 143 };

/** `omnishim demo [--port N]`. */
export interface DemoOptions {
  /** "0" lets the system choose a free port. */
  readonly port: string;
}

/**
 * Starts the shim on 127.0.0.1 with a log in a folder of its own, replays the capture through both, prints the merged
 * traces, and stops. Nothing is left behind, also when it fails or is interrupted (ADR 050).
 * @returns the exit code: 0; 1 when not every request came out; 130 or 143 when a signal ended it.
 * @throws CommandError when the shim cannot start.
 */
export async function demo(options: DemoOptions, edge: Edge): Promise<number> {
  const port = /^\d{1,5}$/.test(options.port) ? Number(options.port) : Number.NaN;
  if (!(port <= 65_535)) throw new CommandError(`invalid --port "${options.port}": write a number from 0 to 65535`);
  const steps = readCapture();
  const folder = await mkdtemp(join(tmpdir(), "omnishim-demo-"));
  // The program's timers keep no process alive; while it stops, nothing else does.
  const alive = setInterval(() => {}, 2 ** 30);
  try {
    const resources = await replayThroughShim(steps, folder, port, edge);
    return report(resources, countRequests(steps), edge);
  } catch (error) {
    if (!(error instanceof StopSignal)) throw error;
    edge.stdout.write("The demo was interrupted; its temporary files are removed.\n");
    return SIGNAL_CODES[error.name] ?? 1;
  } finally {
    clearInterval(alive);
    await rm(folder, { recursive: true, force: true });
  }
}

function report(resources: readonly ResourceSpans[], expected: number, { stdout, env }: Edge): number {
  const census = takeCensus(resources);
  stdout.write(`\n${renderTraces(resources, terminalOptions(stdout, env))}\n${describeCensus(census).join("\n")}\n\n`);
  if (census.requests !== expected) {
    stdout.write(`The capture has ${expected} requests, ${census.requests} came out: please report this fault.\n`);
    return 1;
  }
  stdout.write(`Next\n${NEXT_STEPS.map((step) => `  ${step}\n`).join("")}`);
  return 0;
}

/** Runs the service over the replay; gives what its pipeline sent. @throws the stop signal's reason, CommandError */
async function replayThroughShim(
  steps: readonly ReplayStep[],
  folder: string,
  port: number,
  edge: Edge,
): Promise<ResourceSpans[]> {
  for (const file of LOG_FILES) await writeFile(join(folder, file), "");
  const logger = createLogger({ level: "warn", encoding: "console", write: (line) => edge.stderr.write(line) });
  const collected = new Collected();
  const heard: string[] = [];
  const service = new Service(planOf(folder, port, collected), {
    logger: overhear(logger, (message) => heard.push(message)),
    metrics: createMetrics(),
    clock: systemClock,
    build: buildInfo,
  });
  await service.start(STOP_MS).catch((error: Error) => {
    const hint = port === 0 ? "" : "\nWithout --port the demo takes a port that is free.";
    throw new CommandError(`${error.message}${hint}`);
  });
  try {
    const address = grpcAddress(heard);
    edge.stdout.write(
      `${buildInfo.command} ${buildInfo.version} listens on ${address} (OTLP/gRPC) and follows a log in ${folder}\n`,
    );
    await replay(steps, folder, address, { out: edge.stdout, clock: systemClock, build: buildInfo, signal: edge.stop });
    return collected.resources;
  } finally {
    // Reads what is left of the log, and releases what still waits in the merge: into `collected`.
    for (const error of await service.shutdown(STOP_MS)) logger.warn(error.message);
  }
}

/** The pipelines of otel.yml, with what they give kept in memory. */
function planOf(folder: string, port: number, collected: Collected): Plan {
  const config = {
    receivers: {
      otlp: { protocols: { grpc: { endpoint: `127.0.0.1:${port}` } } },
      omni_proxy_log: {
        include: LOG_FILES.map((file) => join(folder, file)),
        start_at: "beginning",
        poll_interval: "50ms",
        timezone: "UTC",
      },
    },
    processors: { batch: {} },
    connectors: { request_merge: {} },
    exporters: { demo: {} },
    service: {
      pipelines: {
        logs: { receivers: ["omni_proxy_log"], exporters: ["request_merge"] },
        "traces/in": { receivers: ["otlp"], exporters: ["request_merge"] },
        traces: { receivers: ["request_merge"], processors: ["batch"], exporters: ["demo"] },
      },
    },
  };
  const { root } = parseYaml({ name: "the demo's configuration", text: JSON.stringify(config) });
  const exporters = [...factories.exporters, collected.factory];
  const { plan, problems } = makePlan(root, { ...factories, exporters });
  if (!plan) throw new Error(`the demo's configuration is wrong: ${problems.map(({ message }) => message).join("; ")}`);
  return plan;
}

/** An exporter that keeps what it gets. */
class Collected {
  readonly resources: ResourceSpans[] = [];

  readonly factory: ExporterFactory = {
    kind: "exporter",
    type: "demo",
    stability: "stable",
    signals: ["traces"],
    configure: () => ({
      effective: {},
      create: () => ({
        start: async () => {},
        shutdown: async () => {},
        consumers: {
          traces: {
            mutatesData: false,
            consume: async (batch) => {
              this.resources.push(...decodeTraces(batch.bytes));
            },
          },
        },
      }),
    }),
  };
}

function countRequests(steps: readonly ReplayStep[]): number {
  const text = steps.map((step) => (step.kind === "log" ? step.bytes.toString("latin1") : "")).join("");
  return text.match(/<<<Action: Time received;/g)?.length ?? 0;
}

/** A logger for the service: warnings and errors go on, information is only listened to. */
function overhear(logger: Logger, hear: (message: string) => void): Logger {
  return {
    debug() {},
    info: hear,
    warn: (message, fields) => logger.warn(message, fields),
    error: (message, fields) => logger.error(message, fields),
    with: (fields) => overhear(logger.with(fields), hear),
  };
}

/** Where the otlp receiver said that it listens. */
function grpcAddress(messages: readonly string[]): string {
  for (const message of messages) {
    const address = /^OTLP\/gRPC listens on (\S+):/.exec(message)?.[1];
    if (address !== undefined) return address;
  }
  throw new Error("the otlp receiver did not say where it listens");
}
