import { describe, expect, it } from "vitest";
import { backupName, expiredBackups } from "./backups.ts";

const now = Date.UTC(2026, 10, 22, 10, 30, 0, 7);
const keepAll = { maxDays: 0, maxBackups: 0, localTime: false };

describe("backupName", () => {
  it.each([
    ["/var/log/traces.json", "traces-2026-11-22T10-30-00.007.json"],
    ["traces", "traces-2026-11-22T10-30-00.007"],
    ["a.b.json", "a.b-2026-11-22T10-30-00.007.json"],
  ])("puts the time between name and ending of %s", (path, name) => {
    expect(backupName(path, now, false)).toBe(name);
  });

  it.each([true, false])("is found again by expiredBackups when localtime is %s", (localTime) => {
    const name = backupName("traces.json", now, localTime);
    const rules = { maxDays: 1, maxBackups: 0, localTime };
    expect(expiredBackups("traces.json", [name], rules, now + 86_400_000)).toEqual([]);
    expect(expiredBackups("traces.json", [name], rules, now + 86_400_001)).toEqual([name]);
  });
});

describe("expiredBackups", () => {
  const at = (days: number): string => backupName("traces.json", now - days * 86_400_000, false);
  const names = [at(0), at(3), at(1), at(2)];

  it("keeps everything when nothing is bounded", () => {
    expect(expiredBackups("traces.json", names, keepAll, now)).toEqual([]);
  });

  it("names the oldest beyond maxBackups", () => {
    expect(expiredBackups("traces.json", names, { ...keepAll, maxBackups: 2 }, now)).toEqual([at(2), at(3)]);
  });

  it("names what is older than maxDays", () => {
    expect(expiredBackups("traces.json", names, { ...keepAll, maxDays: 2 }, now)).toEqual([at(3)]);
  });

  it("never names another file", () => {
    const others = [
      "traces.json",
      "traces-old.json",
      "other-2026-11-22T10-30-00.007.json",
      "traces-2026-11-22T10-30-00.007.txt",
    ];
    expect(expiredBackups("traces.json", others, { ...keepAll, maxBackups: 1, maxDays: 1 }, now * 2)).toEqual([]);
  });
});
