import { createServer, type Server } from "node:http";
import type { MetricsRegistry } from "./metrics.ts";

/** Longest that a scraper may take to send its request. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Scrapers at a time. */
const MAX_CONNECTIONS = 64;

/** A server, not yet bound, that answers `/metrics` in Prometheus' text format and everything else with 404. */
export function createMetricsServer(metrics: MetricsRegistry): Server {
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
    (req, res) => {
      const path = (req.url ?? "").split("?")[0];
      if (path !== "/metrics") {
        res.writeHead(404, { "content-type": "text/plain; charset=utf-8" }).end("404 page not found: see /metrics\n");
        return;
      }
      metrics.text().then(
        (text) => res.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }).end(text),
        (error: Error) => res.writeHead(500, { "content-type": "text/plain; charset=utf-8" }).end(`${error.message}\n`),
      );
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}
