/** Judges the headers of a gRPC request as grpc-go does, in its order (http2_server.go operateHeaders, server.go handleStream). */
import type { IncomingHttpHeaders } from "node:http2";
import type { Encoding } from "../compression/decompress.ts";
import type { GrpcMethod } from "./method.ts";
import { GrpcCode, GrpcError, parseGrpcTimeout } from "./status.ts";

/** grpc-encoding -> decoder. The Collector registers the same three; grpc's snappy is the framed format (mostynb/go-grpc-compression). */
const ENCODINGS: ReadonlyMap<string, Encoding> = new Map([
  ["gzip", "gzip"],
  ["zstd", "zstd"],
  ["snappy", "snappy-framed"],
]);

/** A request that may be read. */
export interface JudgedRequest {
  readonly method: GrpcMethod;
  /** Of messages whose compressed flag is set; undefined: identity. */
  readonly encoding: Encoding | undefined;
  /** From grpc-timeout. */
  readonly timeoutMs: number | undefined;
}

/** The request is not gRPC, which an HTTP status says too. */
export class HttpRefusal extends GrpcError {
  readonly status: number;

  constructor(status: number, code: number, message: string) {
    super(code, message);
    this.status = status;
  }
}

/** What to do with a request, or the error to answer it with. */
export function judgeRequest(
  headers: IncomingHttpHeaders,
  methods: ReadonlyMap<string, GrpcMethod>,
): JudgedRequest | GrpcError {
  const type = headers["content-type"] ?? "";
  if (!isGrpc(type))
    return new HttpRefusal(415, GrpcCode.INVALID_ARGUMENT, `invalid gRPC request content-type ${quote(type)}`);
  const timeout = headers["grpc-timeout"];
  const timeoutMs = timeout === undefined ? undefined : parseGrpcTimeout(String(timeout));
  if (timeout !== undefined && timeoutMs === undefined)
    return new HttpRefusal(400, GrpcCode.INTERNAL, `malformed grpc-timeout: ${quote(timeout)}`);
  const verb = headers[":method"];
  if (verb !== "POST")
    return new HttpRefusal(
      405,
      GrpcCode.INTERNAL,
      `Received a HEADERS frame with :method ${quote(verb)} which should be POST`,
    );
  const path = headers[":path"] ?? "";
  const method = methods.get(path);
  if (!method) return unknownPath(path, methods);
  const named = headers["grpc-encoding"] ?? "";
  if (named === "" || named === "identity") return { method, encoding: undefined, timeoutMs };
  const encoding = ENCODINGS.get(String(named));
  if (!encoding)
    return new GrpcError(
      GrpcCode.UNIMPLEMENTED,
      `grpc: Decompressor is not installed for grpc-encoding ${quote(named)}`,
    );
  return { method, encoding, timeoutMs };
}

/** "application/grpc", alone or with a "+codec" or parameters behind it (grpcutil.ContentSubtype). */
function isGrpc(type: string): boolean {
  return type === "application/grpc" || /^application\/grpc[+;]/i.test(type);
}

/** grpc-go's words for a path that is not in the table. */
function unknownPath(path: string, methods: ReadonlyMap<string, GrpcMethod>): GrpcError {
  const at = path.lastIndexOf("/");
  if (!path.startsWith("/") || at === 0)
    return new GrpcError(GrpcCode.UNIMPLEMENTED, `malformed method name: ${quote(path)}`);
  const service = path.slice(1, at);
  const known = [...methods.keys()].some((key) => key.startsWith(`/${service}/`));
  return new GrpcError(
    GrpcCode.UNIMPLEMENTED,
    known ? `unknown method ${path.slice(at + 1)} for service ${service}` : `unknown service ${service}`,
  );
}

function quote(value: unknown): string {
  return JSON.stringify(value ?? "");
}
