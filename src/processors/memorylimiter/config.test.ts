import { describe, expect, it } from "vitest";
import { decodeSection } from "../../config/schema.ts";
import { ConfigErrors } from "../../kernel/errors.ts";
import { limitsOf, memoryLimiterSchema } from "./config.ts";

const decode = (section: unknown) => decodeSection(memoryLimiterSchema, section);

function issues(section: unknown): string[] {
  try {
    decode(section);
  } catch (error) {
    if (error instanceof ConfigErrors) return error.issues.map(({ path, message }) => [...path, message].join(": "));
    throw error;
  }
  return [];
}

describe("memoryLimiterSchema", () => {
  // The messages are those that otelcol 0.155 printed for the same sections.
  it.each<[object | null, string[]]>([
    [
      null,
      [
        "check_interval: 'check_interval' must be greater than zero",
        "'limit_mib' or 'limit_percentage' must be greater than zero",
      ],
    ],
    [{ limit_mib: 100 }, ["check_interval: 'check_interval' must be greater than zero"]],
    [{ check_interval: "1s" }, ["'limit_mib' or 'limit_percentage' must be greater than zero"]],
    [
      { check_interval: "1s", limit_mib: 100, spike_limit_mib: 100 },
      ["spike_limit_mib: 'spike_limit_mib' must be smaller than 'limit_mib'"],
    ],
    [
      { check_interval: "1s", limit_percentage: 101 },
      [
        "limit_percentage: 'limit_percentage' and 'spike_limit_percentage' must be greater than zero and less than or equal to hundred",
      ],
    ],
    [
      { check_interval: "1s", limit_percentage: 50, spike_limit_percentage: 60 },
      ["spike_limit_percentage: 'spike_limit_percentage' must be smaller than 'limit_percentage'"],
    ],
    [
      { check_interval: "1s", limit_mib: 100, min_gc_interval_when_hard_limited: "20s" },
      [
        "min_gc_interval_when_hard_limited: 'min_gc_interval_when_soft_limited' should be larger than 'min_gc_interval_when_hard_limited'",
      ],
    ],
    [{ check_interval: "1s", limit_mib: -1 }, ["limit_mib: must be at least 0, got -1"]],
    [{ check_interval: "1s", limit_mib: 100 }, []],
  ])("says of %j what is wrong", (section, expected) => {
    expect(issues(section)).toEqual(expected);
  });

  it("has the Collector's defaults", () => {
    expect(decode({ check_interval: "1s", limit_mib: 100 }).effective).toEqual({
      check_interval: "1s",
      limit_mib: 100,
      spike_limit_mib: 0,
      limit_percentage: 0,
      spike_limit_percentage: 0,
      min_gc_interval_when_soft_limited: "10s",
      min_gc_interval_when_hard_limited: "0s",
    });
  });
});

describe("limitsOf", () => {
  const MIB = 1024 * 1024;
  it.each([
    ["a fifth below limit_mib unless told", { limit_mib: 100 }, 80, 100],
    ["spike_limit_mib below limit_mib", { limit_mib: 4000, spike_limit_mib: 800 }, 3200, 4000],
    ["percentages of the total", { limit_percentage: 80, spike_limit_percentage: 15 }, 650, 800],
    ["a fifth below limit_percentage unless told", { limit_percentage: 50 }, 400, 500],
    ["limit_mib where both are given", { limit_mib: 100, limit_percentage: 50, spike_limit_percentage: 30 }, 80, 100],
  ])("is %s", (_, section, soft, hard) => {
    const { config } = decode({ check_interval: "1s", ...section });
    expect(limitsOf(config, 1000 * MIB)).toEqual({ soft: soft * MIB, hard: hard * MIB });
  });
});
