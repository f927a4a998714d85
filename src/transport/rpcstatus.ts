/** google.rpc.Status and google.rpc.RetryInfo, in protobuf and in the protobuf JSON mapping. */
import protobuf from "protobufjs/minimal.js";

const RETRY_INFO_TYPE = "type.googleapis.com/google.rpc.RetryInfo";

/** google.rpc.RetryInfo: retry_delay = 1, a google.protobuf.Duration of seconds = 1 and nanos = 2. */
export function encodeRetryInfo(retryAfterMs: number): Uint8Array {
  const seconds = Math.floor(retryAfterMs / 1000);
  const nanos = Math.round((retryAfterMs - seconds * 1000) * 1e6);
  const writer = protobuf.Writer.create().uint32(10).fork();
  if (seconds > 0) writer.uint32(8).int64(seconds);
  if (nanos > 0) writer.uint32(16).int32(nanos);
  return writer.ldelim().finish();
}

/** google.rpc.Status: code = 1, message = 2, details = 3 (google.protobuf.Any: type_url = 1, value = 2). */
export function encodeStatus(code: number, message: string, retryAfterMs?: number): Uint8Array {
  const writer = protobuf.Writer.create();
  if (code !== 0) writer.uint32(8).int32(code);
  if (message !== "") writer.uint32(18).string(message);
  if (retryAfterMs !== undefined)
    writer
      .uint32(26)
      .fork()
      .uint32(10)
      .string(RETRY_INFO_TYPE)
      .uint32(18)
      .bytes(encodeRetryInfo(retryAfterMs))
      .ldelim();
  return writer.finish();
}

/** The same in JSON, as protojson writes it. */
export function statusJson(code: number, message: string, retryAfterMs?: number): string {
  return JSON.stringify({
    code,
    message,
    ...(retryAfterMs === undefined
      ? {}
      : { details: [{ "@type": RETRY_INFO_TYPE, retryDelay: `${Number((retryAfterMs / 1000).toFixed(9))}s` }] }),
  });
}
