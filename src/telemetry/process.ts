/** What the Collector says of its own process (service/internal/proctelemetry), for this one. */
import { performance } from "node:perf_hooks";
import type { MetricsRegistry } from "./metrics.ts";

/**
 * Declares `otelcol_process_*` and `target_info`. Cumulative allocation has no counterpart in V8 and is left out;
 * instead `omnishim_process_event_loop_utilization` says how much of its one core the program uses.
 * @param resource attributes of this process; dots in names become underscores.
 */
export function observeProcess(metrics: MetricsRegistry, resource: Readonly<Record<string, string>>): void {
  const counter = (name: string, help: string, read: () => number): void =>
    metrics.observed(name, help, read, {}, "counter");
  counter("otelcol_process_uptime", "Uptime of the process in seconds", () => process.uptime());
  counter("otelcol_process_cpu_seconds", "Total CPU user and system time in seconds", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.observed("otelcol_process_memory_rss", "Total physical memory (resident set size) in bytes", () =>
    process.memoryUsage.rss(),
  );
  metrics.observed(
    "otelcol_process_runtime_heap_alloc_bytes",
    "Bytes of objects on the V8 heap",
    () => process.memoryUsage().heapUsed,
  );
  metrics.observed(
    "otelcol_process_runtime_total_sys_memory_bytes",
    "Bytes of memory that V8 and buffers obtained from the system",
    () => {
      const { heapTotal, external } = process.memoryUsage();
      return heapTotal + external;
    },
  );
  let before = performance.eventLoopUtilization();
  metrics.observed(
    "omnishim_process_event_loop_utilization",
    "Share of the time since the last scrape that the event loop was busy, 0 to 1",
    () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, before);
      before = now;
      return utilization;
    },
  );
  const labels = Object.fromEntries(
    Object.entries(resource).map(([name, value]) => [name.replace(/[^a-zA-Z0-9_]/g, "_").replace(/^\d/, "_$&"), value]),
  );
  metrics.gauge("target_info", "Target metadata", Object.keys(labels)).set(1, labels);
}
