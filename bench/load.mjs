/**
 * The process that sends export requests: so many under way at once over eight connections, the next when one is answered.
 * Speaks over IPC: {start: {port, protocol, inFlight, spans, requests}} connects; "go" sends until "pause", which is answered
 * with {sent, refused} in spans when every request has been.
 */
import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:http2";
import { exportRequests } from "./spans.mjs";

const CONNECTIONS = 8;
const GRPC_HEADERS = {
  ":method": "POST",
  ":path": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
  "content-type": "application/grpc",
  te: "trailers",
};

function grpcSender(port) {
  const sessions = Array.from({ length: CONNECTIONS }, () => connect(`http://127.0.0.1:${port}`));
  for (const session of sessions) session.on("error", () => {});
  let next = 0;
  return (body) =>
    new Promise((resolve) => {
      const session = sessions[next++ % CONNECTIONS];
      const stream = session.request(GRPC_HEADERS);
      let status;
      stream.on("response", (headers) => {
        status ??= headers["grpc-status"];
      });
      stream.on("trailers", (trailers) => {
        status ??= trailers["grpc-status"];
      });
      stream.on("error", () => {});
      stream.on("close", () => resolve(status === "0"));
      stream.resume();
      stream.end(body);
    });
}

function httpSender(port, type) {
  const agent = new Agent({ keepAlive: true, maxSockets: 128 });
  const options = { agent, port, host: "127.0.0.1", path: "/v1/traces", method: "POST" };
  return (body) =>
    new Promise((resolve) => {
      const sent = httpRequest(
        { ...options, headers: { "content-type": type, "content-length": body.length } },
        (response) => {
          response.resume();
          response.on("end", () => resolve(response.statusCode === 200));
        },
      );
      sent.on("error", () => resolve(false));
      sent.end(body);
    });
}

function framed(body) {
  const out = Buffer.allocUnsafe(body.length + 5);
  out[0] = 0;
  out.writeUInt32BE(body.length, 1);
  out.set(body, 5);
  return out;
}

let send;
let bodies;
let load;
let going = false;
let under = 0;
const figures = { sent: 0, refused: 0 };
let idle = () => {};

async function worker(first) {
  under++;
  for (let n = first; going; n += load.inFlight) {
    const taken = await send(bodies[n % bodies.length]);
    if (taken) figures.sent += load.spans;
    else figures.refused += load.spans;
  }
  if (--under === 0) idle();
}

process.on("message", (message) => {
  if (message.start) {
    load = message.start;
    const plain = exportRequests(load.requests, load.spans, load.protocol === "json" ? "json" : "protobuf");
    bodies = load.protocol === "grpc" ? plain.map(framed) : plain;
    send =
      load.protocol === "grpc"
        ? grpcSender(load.port)
        : httpSender(load.port, load.protocol === "json" ? "application/json" : "application/x-protobuf");
    process.send("ready");
  } else if (message === "go") {
    going = true;
    for (let n = 0; n < load.inFlight; n++) void worker(n);
  } else {
    idle = () => process.send(figures);
    going = false;
  }
});
process.on("disconnect", () => process.exit());
