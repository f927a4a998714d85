#!/usr/bin/env node
import { readFileSync, writeFileSync } from "node:fs";
// OTLP receiver conformance: sends every case of cases.json to a running receiver and compares what
// comes back with expected.json, which was recorded from a real OpenTelemetry Collector (v0.155.0).
//
//   node run.mjs --grpc 127.0.0.1:4317 --http 127.0.0.1:4318            compare, exit 1 on a difference
//   node run.mjs --grpc ... --http ... --record FILE                    write what was seen
//   --cases FILE --expected FILE                                        other files than the ones beside this script
//
// A case passes when status (or gRPC code) and media type are among those allowed, and, where the recorded
// answer is a google.rpc.Status, its code is the same. Texts are printed for the reader and not compared.
import http from "node:http";
import http2 from "node:http2";
import { parseArgs } from "node:util";

const { values: arg } = parseArgs({
  options: {
    grpc: { type: "string", default: "127.0.0.1:4317" },
    http: { type: "string", default: "127.0.0.1:4318" },
    cases: { type: "string", default: new URL("fixtures/cases.json", import.meta.url).pathname },
    expected: { type: "string", default: new URL("fixtures/expected.json", import.meta.url).pathname },
    record: { type: "string" },
    only: { type: "string" },
  },
});

const body = (c) =>
  c.fill ? Buffer.concat([Buffer.from(c.body, "base64"), Buffer.alloc(c.fill)]) : Buffer.from(c.body, "base64");

function varint(b, p) {
  let r = 0,
    s = 1;
  for (;;) {
    const x = b[p++];
    r += (x & 127) * s;
    s *= 128;
    if (!(x & 128)) return [r, p];
  }
}
/** google.rpc.Status.code of a protobuf or JSON body, or undefined. */
function statusCode(type, b) {
  try {
    if (/json/.test(type)) return JSON.parse(b.toString()).code;
    if (/protobuf/.test(type)) return b[0] === 8 ? varint(b, 1)[0] : undefined;
  } catch {
    /* not a Status */
  }
}

const overHttp = (c) =>
  new Promise((resolve) => {
    const [host, port] = arg.http.split(":");
    const data = body(c);
    const req = http.request(
      {
        host,
        port,
        method: c.method,
        path: c.path,
        agent: false,
        headers: {
          ...c.headers,
          ...(data.length || !["GET", "DELETE"].includes(c.method) ? { "Content-Length": data.length } : {}),
        },
      },
      (res) => {
        const parts = [];
        res.on("data", (d) => parts.push(d));
        res.on("end", () => {
          const b = Buffer.concat(parts);
          const type = (res.headers["content-type"] ?? "").split(";")[0].toLowerCase();
          resolve({
            status: res.statusCode,
            type,
            code: res.statusCode >= 400 ? statusCode(type, b) : undefined,
            text: b.toString("latin1").slice(0, 160),
          });
        });
      },
    );
    req.on("error", (e) => resolve({ error: e.code }));
    req.setTimeout(8000, () => req.destroy(Object.assign(new Error("timeout"), { code: "TIMEOUT" })));
    req.end(data);
  });

const overGrpc = (c) =>
  new Promise((resolve) => {
    const session = http2.connect(`http://${arg.grpc}`);
    const done = (r) => {
      clearTimeout(timer);
      session.destroy();
      resolve(r);
    };
    const timer = setTimeout(() => done({ error: "TIMEOUT" }), 8000);
    session.on("error", (e) => done({ error: e.code }));
    const s = session.request({
      ":method": "POST",
      ":path": c.path,
      "content-type": "application/grpc+proto",
      te: "trailers",
      ...c.headers,
    });
    let head = {},
      trail = {},
      got = 0;
    s.on("response", (h) => {
      head = h;
    });
    s.on("trailers", (t) => {
      trail = t;
    });
    s.on("data", (d) => {
      got += d.length;
    });
    s.on("error", (e) => {
      if (!("grpc-status" in head)) done({ error: e.code });
    });
    s.on("end", () => {
      const g = trail["grpc-status"] ?? head["grpc-status"];
      done({
        status: head[":status"],
        grpc: g === undefined ? undefined : Number(g),
        text: decodeURIComponent(String(trail["grpc-message"] ?? head["grpc-message"] ?? "")).slice(0, 160),
        bytes: got,
      });
    });
    s.on("close", () =>
      setTimeout(() => {
        const g = trail["grpc-status"] ?? head["grpc-status"];
        done(g === undefined ? { error: "CLOSED" } : { status: head[":status"], grpc: Number(g) });
      }, 50),
    );
    // A message announced as too large is refused on its prefix: leave the stream open rather than push it all.
    if (c.fill) s.write(Buffer.concat([Buffer.from(c.body, "base64"), Buffer.alloc(65536)]));
    else s.end(body(c));
  });

const cases = JSON.parse(readFileSync(arg.cases)).filter((c) => !arg.only || c.name.includes(arg.only));
const seen = {};
for (const c of cases) seen[c.name] = await (c.proto === "http" ? overHttp(c) : overGrpc(c));
if (arg.record) {
  writeFileSync(arg.record, `${JSON.stringify(seen, null, 1)}\n`);
  console.log(`recorded ${cases.length}`);
  process.exit(0);
}
const expected = JSON.parse(readFileSync(arg.expected));
let failed = 0;
for (const c of cases) {
  const want = [expected[c.name], ...(c.or ?? [])].filter(Boolean),
    got = seen[c.name];
  // Media types count where a client decodes the body: on success and where it is a Status.
  const keys = (w) =>
    ["status", "code", "grpc", "error", ...(w.status < 300 || w.code !== undefined ? ["type"] : [])].filter(
      (k) => k in w,
    );
  const same = (w) => w && keys(w).every((k) => w[k] === got[k]);
  if (!want.some(same)) {
    failed++;
    console.log(
      `DIFFERS ${c.name}\n   want ${want.map((w) => JSON.stringify(w)).join("\n   or   ")}\n   got  ${JSON.stringify(got)}`,
    );
  }
}
console.log(`${cases.length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
