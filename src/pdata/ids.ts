/** Trace and span ids, and the W3C header that carries them. */

/** Bytes as lower-case hex. */
export function toHex(bytes: Uint8Array, from = 0, to: number = bytes.length): string {
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString("hex", from, to);
}

/** Hex in either case as bytes; `undefined` when a character is no hex digit or one is missing its partner. */
export function fromHex(text: string): Buffer | undefined {
  if (text.length % 2 !== 0) return undefined;
  const bytes = Buffer.from(text, "hex"); // stops at what is no hex
  return bytes.length * 2 === text.length ? bytes : undefined;
}

/** What a `traceparent` header says. */
export interface Traceparent {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string;
  /** Of the caller: 16 lower-case hex digits, not all zero. */
  readonly spanId: string;
  /** W3C trace flags, one byte; bit 0 is "sampled". */
  readonly flags: number;
}

const TRACEPARENT = /^[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*$/;

/**
 * Reads a `traceparent` (W3C Trace Context, 3.2), `undefined` when it is not valid. Takes what OpenTelemetry's Python
 * propagator takes, which is vLLM's: lower case only, ids not zero, blanks around it; versions from 01 to fe may carry
 * more after the flags, version ff is invalid.
 */
export function parseTraceparent(text: string): Traceparent | undefined {
  const match = TRACEPARENT.exec(text);
  if (match === null) return undefined;
  const [, version = "", traceId = "", spanId = "", flags = "", more] = match;
  if (version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, flags: Number.parseInt(flags, 16) };
}
