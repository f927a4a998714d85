/** W3C Trace Context `traceparent`, as strictly as vLLM's propagator reads it: what it ignores must not name a trace here. */

const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/s;

/** Lower case only, ids not zero, version not ff, nothing behind a version 00; undefined for anything else. */
export function parseTraceparent(text: string): { traceId: string; spanId: string; sampled: boolean } | undefined {
  const found = FORM.exec(text.trim());
  if (!found) return undefined;
  const [, version, traceId, spanId, flags, rest] = found as unknown as [string, string, string, string, string, string | undefined];
  if (version === "ff" || (version === "00" && rest !== undefined) || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}
