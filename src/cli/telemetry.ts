/** The running program's own log and metrics page, as `service::telemetry` asks for them. */
import { randomUUID } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseListenAddress } from "../config/listen-address.ts";
import { metricsAddresses, resourceAttributes, type TelemetryConfig } from "../config/telemetry.ts";
import type { BuildInfo } from "../kernel/api.ts";
import { createLogger, type Logger } from "../telemetry/logger.ts";
import type { MetricsRegistry } from "../telemetry/metrics.ts";
import { createMetricsServer } from "../telemetry/server.ts";
import { listen } from "../transport/listen.ts";
import { CommandError, type Edge } from "./edge.ts";

/** An open log. */
export interface OpenLog {
  readonly logger: Logger;
  /** Closes files; lines written after it go nowhere. */
  close(): void;
}

/**
 * Opens `logs::output_paths`: stderr, stdout, and files, which are appended to.
 * @throws CommandError when a file cannot be opened.
 */
export function openLog(config: TelemetryConfig, edge: Edge): OpenLog {
  const { level, encoding, output_paths, initial_fields } = config.logs;
  const files: number[] = [];
  const sinks = output_paths.map((path): ((line: string) => void) => {
    if (path === "stderr") return (line) => edge.stderr.write(line);
    if (path === "stdout") return (line) => edge.stdout.write(line);
    const file = openFile(path);
    files.push(file);
    return (line) => writeSync(file, line);
  });
  let isOpen = true;
  const logger = createLogger({
    level,
    encoding,
    fields: {
      ...(Object.keys(config.resource).length > 0 ? { resource: resourceAttributes(config, {}) } : {}),
      ...initial_fields,
    },
    write(line) {
      if (isOpen) for (const sink of sinks) sink(line);
    },
  });
  return {
    logger,
    close() {
      isOpen = false;
      for (const file of files.splice(0)) closeSync(file);
    },
  };
}

function openFile(path: string): number {
  try {
    return openSync(path.startsWith("file:") ? fileURLToPath(path) : path, "a");
  } catch (error) {
    throw new CommandError(
      `failed to open the log: ${(error as Error).message}; change service::telemetry::logs::output_paths`,
    );
  }
}

/** The attributes of this process: for `target_info`. */
export function processResource(config: TelemetryConfig, build: BuildInfo): Readonly<Record<string, string>> {
  return resourceAttributes(config, {
    "service.name": build.command,
    "service.version": build.version,
    "service.instance.id": randomUUID(),
  });
}

/** A bound metrics page. */
export interface MetricsPages {
  close(): Promise<void>;
}

/** Binds the metrics page; an address that cannot be bound is a warning and nothing more. */
export async function openMetricsPages(
  config: TelemetryConfig,
  metrics: MetricsRegistry,
  logger: Logger,
): Promise<MetricsPages> {
  const servers: ReturnType<typeof createMetricsServer>[] = [];
  for (const { address, key } of metricsAddresses(config)) {
    const parsed = parseListenAddress(address);
    const server = createMetricsServer(metrics);
    try {
      if (typeof parsed === "string") throw new Error(parsed);
      const bound = await listen(server, parsed, key);
      servers.push(server);
      logger.info(`Metrics are at http://${bound.address}/metrics: ${bound.reach}`);
    } catch (error) {
      logger.warn(
        `There is no metrics page: ${(error as Error).message}; everything else works (service::telemetry::metrics::level: none switches the page off)`,
      );
    }
  }
  return {
    async close() {
      await Promise.all(
        servers.splice(0).map((server) => {
          server.closeAllConnections();
          return new Promise((resolve) => server.close(resolve));
        }),
      );
    },
  };
}
