/**
 * Trace and span ids. Everything log-derived has ids that follow from the log alone, so that a replay, a restart and an
 * offline conversion make the same trace (docs/adr/020-request-key.md).
 */
import { hash } from "node:crypto";

/** What names a request in ids: the connection's number, the id's bytes and the text of its "Time received" stamp. */
export interface RequestKey {
  readonly connection: number;
  /** Binary string. */
  readonly id: string;
  /** As logged: "1056.622121". */
  readonly time: string;
}

/** The first `bytes` of SHA-256 over fields with their lengths in front (no two lists of fields have one input), as lower-case hex; never all zero. */
function hexId(fields: readonly string[], bytes: number): string {
  let input = "";
  for (const field of fields) input += `${field.length}:${field}`;
  // Text and Latin-1 have the same bytes as long as there is ASCII only, and a string needs no buffer.
  const isAscii = !/[^\0-\x7f]/.test(input);
  const id = hash("sha256", isAscii ? input : Buffer.from(input, "latin1"), "hex").slice(0, bytes * 2);
  return id.startsWith("00000000") && /^0+$/.test(id) ? id.replace(/0$/, "1") : id;
}

/** The trace id of a request that has neither a traceparent nor a UUID of its own. 32 hex digits. */
export function traceIdOf(key: RequestKey): string {
  return hexId(["request", String(key.connection), key.id, key.time], 16);
}

/** The trace id of spans whose request is not known: from their canonical request id alone. 32 hex digits. */
export function guessedTraceId(canonicalId: string): string {
  return hexId(["id", canonicalId], 16);
}

/** A log-derived span's id. 16 hex digits. `ordinal` tells apart spans of one name. */
export function spanIdOf(traceId: string, key: RequestKey, name: string, ordinal = 0): string {
  return hexId([traceId, String(key.connection), key.id, key.time, name, String(ordinal)], 8);
}
