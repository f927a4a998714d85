/** Tells gRPC clients at a port that does not speak gRPC where to go, in their own language. */
import { createServer, type Http2Server } from "node:http2";
import { LINGER_MS } from "../door.ts";
import { encodeGrpcMessage, GrpcCode } from "./status.ts";

/** A server, to be given connections with `emit("connection", socket)`, whose answer to every call is UNIMPLEMENTED: a status that clients show and do not retry. */
export function grpcElsewhere(message: () => string): Http2Server {
  const server = createServer();
  server.on("session", (session) => session.setTimeout(LINGER_MS, () => session.destroy()));
  server.on("sessionError", () => {});
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    stream.respond(
      {
        ":status": 200,
        "content-type": "application/grpc",
        "grpc-status": String(GrpcCode.UNIMPLEMENTED),
        "grpc-message": encodeGrpcMessage(message()),
      },
      { endStream: true },
    );
    stream.resume();
  });
  return server;
}
