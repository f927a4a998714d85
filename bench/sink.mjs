/**
 * The process that the program under test sends to: answers every export with success, counts spans and bytes, keeps
 * nothing. Speaks over IPC: "ports" when it listens; "count" is answered with the figures so far.
 */
import { createServer as createHttp } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import { gunzipSync } from "node:zlib";
import { LEN, WireCursor } from "../dist/pdata/wire.js";

const PREFIX = 5;
const EMPTY = Buffer.alloc(PREFIX);
const count = { requests: 0, spans: 0, bytes: 0 };

function spansIn(bytes, from, to, path, depth = 0) {
  const cursor = new WireCursor(bytes, from, to);
  let sum = 0;
  while (cursor.next()) {
    if (cursor.field !== path[depth] || cursor.wire !== LEN) continue;
    sum += depth === path.length - 1 ? 1 : spansIn(bytes, cursor.valueStart, cursor.valueEnd, path, depth + 1);
  }
  return sum;
}

function take(body, zipped) {
  const plain = zipped ? gunzipSync(body) : body;
  count.requests++;
  count.bytes += body.length;
  count.spans += spansIn(plain, 0, plain.length, [1, 2, 2]);
}

const grpc = createHttp2({ settings: { initialWindowSize: 8 << 20 } });
// Without room on the connection the program under test would wait for the sink instead of working.
grpc.on("session", (session) => session.setLocalWindowSize(16 << 20));
grpc.on("stream", (stream) => {
  const chunks = [];
  stream.on("data", (chunk) => chunks.push(chunk));
  stream.on("end", () => {
    const body = Buffer.concat(chunks);
    take(body.subarray(PREFIX), body[0] === 1);
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(EMPTY);
  });
  stream.on("error", () => {});
});

const http = createHttp((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    take(Buffer.concat(chunks), request.headers["content-encoding"] === "gzip");
    response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
  });
});

const listening = (server) =>
  new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
const [grpcPort, httpPort] = await Promise.all([listening(grpc), listening(http)]);
process.on("message", () => process.send(count));
process.on("disconnect", () => process.exit());
process.send({ grpc: grpcPort, http: httpPort });
