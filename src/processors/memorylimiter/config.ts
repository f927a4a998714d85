import { duration, int, section, type z } from "../../config/schema.ts";

const MIB = 1024 * 1024;
const MOST = 2 ** 32 - 1;

type Check = (config: RawConfig) => readonly [key: string | undefined, message: string] | undefined;

interface RawConfig {
  readonly check_interval: number;
  readonly limit_mib: number;
  readonly spike_limit_mib: number;
  readonly limit_percentage: number;
  readonly spike_limit_percentage: number;
  readonly min_gc_interval_when_soft_limited: number;
  readonly min_gc_interval_when_hard_limited: number;
}

/** In the order and words of the Collector (internal/memorylimiter/config.go); the key is where to point, if it is there. */
const checks: readonly Check[] = [
  (config) =>
    config.check_interval <= 0 ? ["check_interval", "'check_interval' must be greater than zero"] : undefined,
  (config) =>
    config.min_gc_interval_when_soft_limited < config.min_gc_interval_when_hard_limited
      ? [
          "min_gc_interval_when_hard_limited",
          "'min_gc_interval_when_soft_limited' should be larger than 'min_gc_interval_when_hard_limited'",
        ]
      : undefined,
  (config) =>
    config.limit_mib === 0 && config.limit_percentage === 0
      ? [undefined, "'limit_mib' or 'limit_percentage' must be greater than zero"]
      : undefined,
  ...(["limit_percentage", "spike_limit_percentage"] as const).map(
    (key): Check =>
      (config) =>
        config[key] > 100
          ? [
              key,
              "'limit_percentage' and 'spike_limit_percentage' must be greater than zero and less than or equal to hundred",
            ]
          : undefined,
  ),
  (config) =>
    config.limit_mib > 0 && config.limit_mib <= config.spike_limit_mib
      ? ["spike_limit_mib", "'spike_limit_mib' must be smaller than 'limit_mib'"]
      : undefined,
  (config) =>
    config.limit_percentage > 0 && config.limit_percentage <= config.spike_limit_percentage
      ? ["spike_limit_percentage", "'spike_limit_percentage' must be smaller than 'limit_percentage'"]
      : undefined,
];

/** The Collector's keys, defaults and checks. All faults are told, not only the first. */
export const memoryLimiterSchema = section({
  check_interval: duration("0s"),
  limit_mib: int(0, 0, MOST),
  spike_limit_mib: int(0, 0, MOST),
  limit_percentage: int(0, 0, MOST),
  spike_limit_percentage: int(0, 0, MOST),
  min_gc_interval_when_soft_limited: duration("10s"),
  min_gc_interval_when_hard_limited: duration("0s"),
}).check((ctx) => {
  for (const check of checks) {
    const [key, message] = check(ctx.value) ?? [];
    if (message !== undefined)
      ctx.issues.push({
        code: "custom",
        input: ctx.value,
        path: key === undefined ? [] : [key],
        message,
      });
  }
});

/** What `memoryLimiterSchema` decodes to; durations in milliseconds. */
export type MemoryLimiterConfig = z.output<typeof memoryLimiterSchema>;

/** Bytes: data is refused from `soft` on, and garbage collected from `hard` on. */
export interface Limits {
  readonly soft: number;
  readonly hard: number;
}

/** The limits of a configuration where the process may use `totalBytes`. `limit_mib` wins over `limit_percentage`. */
export function limitsOf(config: MemoryLimiterConfig, totalBytes: number): Limits {
  const isFixed = config.limit_mib > 0;
  const hard = isFixed ? config.limit_mib * MIB : Math.floor((config.limit_percentage * totalBytes) / 100);
  const spike = isFixed ? config.spike_limit_mib * MIB : Math.floor((config.spike_limit_percentage * totalBytes) / 100);
  return { hard, soft: hard - (spike === 0 ? Math.floor(hard / 5) : spike) };
}
