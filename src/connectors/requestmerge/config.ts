/** The `request_merge` section (README.md beside this file explains the keys). */
import { decodeSection, duration, extensionId, int, oneOf, section, text, z } from "../../config/schema.ts";
import type { RoleRules } from "../../omni/span-join.ts";

/** Resource attribute -> values that mean the role. */
const roleRules = z
  .codec(
    z.unknown(),
    z.record(
      z.string(),
      z.array(z.string({ error: () => "expected a list of strings, the values of this resource attribute" }), {
        error: () => "expected a list of strings, the values of this resource attribute",
      }),
      {
        error: () => "expected a map of resource attribute -> list of values, such as {service.name: [vllm-prefill]}",
      },
    ),
    { decode: (value) => (value ?? {}) as never, encode: (value) => value as unknown },
  )
  .prefault({});

const schema = section({
  roles: section({ prefill: roleRules, decode: roleRules }),
  span_wait: duration("500ms"),
  wait: duration("10s"),
  request_timeout: duration("15m"),
  max_requests: int(100_000, 1, 10_000_000),
  remember: section({ time: duration("15m"), count: int(500_000, 1, 50_000_000) }),
  clock_skew: oneOf(["annotate", "correct", "off"], "annotate"),
  unsampled: oneOf(["emit", "drop"], "emit"),
  service_name: text("omni-proxy"),
  storage: extensionId(),
  max_storage_mib: int(256, 1, 1_048_576),
});

/** As in the file, durations in milliseconds. */
export type RequestMergeConfig = z.output<typeof schema>;

/** @throws ConfigErrors */
export function decodeConfig(value: unknown): { config: RequestMergeConfig; effective: unknown } {
  return decodeSection(schema, value);
}

/** The roles of the file as the merge wants them. */
export function rulesOf(roles: RequestMergeConfig["roles"]): RoleRules {
  return { prefill: new Map(Object.entries(roles.prefill)), decode: new Map(Object.entries(roles.decode)) };
}
