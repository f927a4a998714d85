import { describe, expect, it } from "vitest";
import { LogTable } from "./log-table.ts";
import type { ProxyRequest } from "./proxy-request.ts";

const ignore = (): void => {};
const tableWith = (begun: (request: ProxyRequest) => void) =>
  new LogTable({ begun, keyed: ignore, absorbed: ignore, progressed: ignore, engine: ignore, alias: ignore });

const prefix = "2026/11/22 04:30:43 [info] ";
const sourceNamed = (path: string) => ({ host: "proxy-1", path, instance: "", timezone: "UTC" });

describe("LogTable", () => {
  it("forgets the source that spoke longest ago when there are 10,000", () => {
    const begun: ProxyRequest[] = [];
    const table = tableWith((request) => void begun.push(request));
    const read = (source: ReturnType<typeof sourceNamed>, text: string): number =>
      table.read(source, Buffer.from(prefix + text), 0, prefix.length + text.length, 0);
    const live = sourceNamed("live.log");
    read(live, "10#0: *7 <<<Action: Time received; Timestamp:100.000001; RequestID:mine");
    for (let other = 0; other < 25_000; other++) {
      read(sourceNamed(`forged-${other}.log`), "10#0: [Prefill-1] Schedule to: 0 (group=0)");
      if (other % 1000 === 0) read(live, "10#0: [Prefill-1] Schedule to: 0 (group=0)");
    }
    expect(table.sources).toBe(10_000);
    // Its connection is still known.
    read(live, "10#0: *7 <<<Action: Enter state P waiting; Timestamp:100.000002; RequestID:mine");
    expect(begun).toHaveLength(1);
  });

  it("keeps 1,024 processes' scheduler lines at most, and lets none of them go unread", () => {
    const begun: ProxyRequest[] = [];
    const table = tableWith((request) => void begun.push(request));
    const source = sourceNamed("error.log");
    const read = (text: string): number =>
      table.read(source, Buffer.from(prefix + text), 0, prefix.length + text.length, 0);
    read("10#0: *7 <<<Action: Time received; Timestamp:100.000001; RequestID:mine");
    read("11#0: <<<Action: Enter state P scheduled; Timestamp:100.000005; RequestID:mine");
    const scheduled = (): boolean => begun[0]?.at.some((stamp) => stamp === 100_000_005) ?? false;
    expect(scheduled()).toBe(false);
    for (let pid = 100; pid < 1200; pid++)
      read(`${pid}#0: <<<Action: Enter state P scheduled; Timestamp:100.000006; RequestID:forged`);
    expect(scheduled()).toBe(true);
  });
});
