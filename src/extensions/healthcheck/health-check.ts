import { createServer, type ServerResponse } from "node:http";
import { parseListenAddress } from "../../config/listen-address.ts";
import { formatDuration } from "../../config/schema.ts";
import type { Component, ServiceHealth, ServiceWatcher, Settings } from "../../kernel/api.ts";
import { formatId } from "../../kernel/id.ts";
import { listen } from "../../transport/listen.ts";
import type { HealthCheckConfig } from "./config.ts";

/** Longest that a prober may take to send its request. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Probers at a time. */
const MAX_CONNECTIONS = 256;
/** Go's zero time, which the Collector prints while it is not available. */
const NEVER = "0001-01-01T00:00:00Z";

/**
 * Says over HTTP whether the service can do its work: available from the end of start-up to the beginning of the stop,
 * unless a component is out of order for good. A destination that is away for a while changes nothing: what was
 * accepted waits for it, and a restart would only lose time.
 */
export class HealthCheck implements Component, ServiceWatcher {
  readonly #config: HealthCheckConfig;
  readonly #settings: Settings;
  readonly #server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS });
  /** Since when it is available, on both clocks; undefined when it is not. */
  #upSince: { readonly unixMs: number; readonly monotonicMs: number } | undefined;

  constructor(config: HealthCheckConfig, settings: Settings) {
    this.#config = config;
    this.#settings = settings;
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on("request", (request, response) => this.#answer(request.url ?? "/", response));
  }

  async start(): Promise<void> {
    const { endpoint, transport, check_collector_pipeline } = this.#config;
    const { logger, id } = this.#settings;
    if (check_collector_pipeline.enabled)
      logger.warn(
        "check_collector_pipeline is accepted and has no effect, as in the Collector: alert on otelcol_exporter_send_failed_spans instead",
      );
    const address = parseListenAddress(endpoint, transport);
    if (typeof address === "string") throw new Error(address);
    const bound = await listen(this.#server, address, `extensions::${formatId(id)}::endpoint`, transport);
    logger.info(`Health check is at http://${bound.address}${this.#config.path}: ${bound.reach}`);
  }

  serviceChanged(health: ServiceHealth): void {
    const broken = health.problems.filter(({ level }) => level === "permanent" || level === "fatal");
    const isUp = health.ready && broken.length === 0;
    if (isUp === (this.#upSince !== undefined)) return;
    const { clock, logger } = this.#settings;
    this.#upSince = isUp ? { unixMs: clock.now(), monotonicMs: clock.monotonic() } : undefined;
    const because = broken.length > 0 ? { because: broken.map(({ component }) => component).join(", ") } : {};
    logger.info("Health Check state change", { status: isUp ? "ready" : "unavailable", ...because });
  }

  shutdown(): Promise<void> {
    if (!this.#server.listening) return Promise.resolve();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #answer(url: string, response: ServerResponse): void {
    // Go's server has keep-alive off here too.
    response.setHeader("connection", "close");
    if (!this.#isAt((url.split("?")[0] as string) || "/")) {
      response.setHeader("x-content-type-options", "nosniff");
      response.writeHead(404, { "content-type": "text/plain; charset=utf-8" }).end("404 page not found\n");
      return;
    }
    const status = this.#upSince ? 200 : 503;
    const { response_body } = this.#config;
    if (response_body) {
      response
        .writeHead(status, { "content-type": "text/plain; charset=utf-8" })
        .end(this.#upSince ? response_body.healthy : response_body.unhealthy);
      return;
    }
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(this.#state()));
  }

  /** As Go's mux: a path that ends in a slash stands for all below it. */
  #isAt(path: string): boolean {
    const own = this.#config.path;
    return own.endsWith("/") ? path.startsWith(own) : path === own;
  }

  #state(): { status: string; upSince: string; uptime: string } {
    if (!this.#upSince) return { status: "Server not available", upSince: NEVER, uptime: "" };
    const { unixMs, monotonicMs } = this.#upSince;
    return {
      status: "Server available",
      upSince: new Date(unixMs).toISOString(),
      uptime: formatDuration(this.#settings.clock.monotonic() - monotonicMs),
    };
  }
}
