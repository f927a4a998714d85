/** What a gRPC method is to the server: a handler of bytes. */
import type { Authenticate } from "../auth.ts";

/** What a handler may know of the call it answers. */
export interface GrpcCall {
  /** "10.0.0.1:53412"; "" for a Unix socket. */
  readonly peer: string;
  /** Request metadata, lower-case keys; only with `includeMetadata`. */
  readonly metadata: ReadonlyMap<string, readonly string[]> | undefined;
  /** Aborted when the client went away, its deadline passed, or the server stops. */
  readonly signal: AbortSignal;
  /** For a server-streaming method: sends one message. */
  send(message: Uint8Array): void;
}

/** A method: takes the (decompressed) request message, gives the response message; throws a GrpcError to fail the call. */
export type GrpcHandler = (message: Uint8Array, call: GrpcCall) => Promise<Uint8Array> | Uint8Array;

/** A method in the server's table. */
export interface GrpcMethod {
  readonly handle: GrpcHandler;
  /** True: the handler answers with `call.send`, and the call ends when its promise settles. */
  readonly serverStreaming?: boolean;
  /** Asked before anything of the message is read; a rejection is UNAUTHENTICATED, or the GrpcError that it is. */
  readonly authenticate?: Authenticate | undefined;
}
