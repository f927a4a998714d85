#!/usr/bin/env node
/**
 * Writes a log as a whole Omni Proxy and vLLM deployment leaves it: 37 actions a request, the same bytes for the same
 * options. The bench case of `omnishim convert`; its 5,000 requests are 185,000 lines.
 *
 *   node bench/generate-log.mjs DIR [--requests 5000] [--rate 100] [--seed 1] [--boot-clock] [--proxy-only] [--gzip]
 *
 * --rate         requests a second, so that requests overlap as they do under load
 * --boot-clock   proxy stamps since boot, as the real proxy writes them (the default is unix time in every stamp)
 * --proxy-only   the proxy's 15 actions a request, no vLLM-side files
 * --gzip         every file as NAME.gz
 */
import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { createGzip } from "node:zlib";

const PREFILL_HOST = "10.0.0.2";
const DECODE_HOST = "10.0.0.3";
/** Unix second of the first request: 2026-11-22 04:30:00 UTC. */
const EPOCH = 1_795_321_800;
/** Unix second of the proxy host's boot. */
const BOOTED = EPOCH - 86_400;

/** [action, who writes it, milliseconds until it at the most (the least is a tenth of that)] */
const ACTIONS = [
  ["Start to schedule", "proxy", 0],
  ["Time received", "proxy", 0.02],
  ["Enter state tokenization", "proxy", 0.1],
  ["Enter state APC matching", "proxy", 2],
  ["Enter state P waiting", "proxy", 1],
  ["Enter state P scheduled", "proxy", 20],
  ["Enter state P running", "proxy", 0.2],
  ["PD api server get request", "prefill", 2],
  ["Start process request in prefill engine", "prefill", 1],
  ["Prefill add waiting queue", "prefill", 1],
  ["try to schedule in waiting queue", "prefill", 4],
  ["Prefill get new_blocks", "prefill", 1],
  ["success add to seq groups", "prefill", 1],
  ["Prefill start execute_model", "prefill", 2],
  ["Prefill done execute_model", "prefill", 120],
  ["Start to send output in prefill stage", "prefill", 2],
  ["Finish prefill pickle and start response", "prefill", 3],
  ["Finish P running", "proxy", 2],
  ["Enter state D waiting", "proxy", 0.1],
  ["Enter state D scheduled", "proxy", 8],
  ["Enter state D running", "proxy", 0.5],
  ["Enter decode to generate", "decode", 2],
  ["Start to dispatch decode request", "decode", 1],
  ["Add need pulling sequence", "decode", 1],
  ["Start pull kv", "decode", 4],
  ["Finish pull kv", "decode", 25],
  ["Start append running sequece for decode", "decode", 2],
  ["Start to send output", "decode", 3],
  ["First decode output token", "decode", 20],
  ["Second decode output token", "decode", 20],
  ["Third decode output token", "decode", 20],
  ["Finish decode pickle and start response", "decode", 1],
  ["Proxy got first token", "proxy", 2],
  ["Prefill free kv blocks", "prefill", 2],
  ["Proxy got second token", "proxy", 20],
  ["Proxy got third token", "proxy", 20],
  ["Received all tokens", "proxy", 400],
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    requests: { type: "string", default: "5000" },
    rate: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
    "boot-clock": { type: "boolean", default: false },
    "proxy-only": { type: "boolean", default: false },
    gzip: { type: "boolean", default: false },
  },
});
const [folder] = positionals;
if (folder === undefined) {
  console.error("usage: node bench/generate-log.mjs DIR [--requests N] [--rate R] [--seed S]");
  process.exit(2);
}

/** Numbers in [0, 1) (mulberry32). */
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function uuid(random) {
  const hex = Array.from({ length: 4 }, () =>
    Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, "0"),
  ).join("");
  const variant = "89ab"[Math.floor(random() * 4)];
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`;
}

const stamp = (us) => `${Math.floor(us / 1e6)}.${String(us % 1e6).padStart(6, "0")}`;

/** nginx's local time of a unix second; this log's proxy lives in UTC. */
function prefix(second) {
  return new Date(second * 1000).toISOString().slice(0, 19).replaceAll("-", "/").replace("T", " ");
}

/** Yields [file, line] in order of time, requests overlapping as --rate says. */
function* lines(requests, rate, seed) {
  const random = randomFrom(seed);
  const waiting = []; // lines of requests that are under way, soonest last
  for (let n = 0; n <= requests; n++) {
    const startUs = EPOCH * 1e6 + Math.round((n / rate) * 1e6);
    const due = [];
    for (let last = waiting.at(-1); last !== undefined && (n === requests || last.us <= startUs); last = waiting.at(-1))
      due.push(waiting.pop());
    for (const entry of due) yield entry;
    if (n < requests) {
      waiting.push(...request(n, startUs, random));
      waiting.sort((a, b) => b.us - a.us || b.order - a.order);
    }
  }
}

let order = 0;
function request(n, startUs, random) {
  const id = uuid(random);
  const out = [];
  let us = startUs;
  for (const [action, role, mostMs] of ACTIONS) {
    us += Math.ceil(mostMs * 100 * (1 + 9 * random()));
    if (role === "proxy")
      out.push({ us, order: order++, file: "nginx_10.0.0.1.log", text: proxyLine(n, action, us, id) });
    else if (!values["proxy-only"])
      out.push({
        us,
        order: order++,
        file: `${role}.log`,
        text: `<<<Action: ${action}; Timestamp:${stamp(us)}; RequestID:chatcmpl-${id}; Role:${role}_${role === "prefill" ? PREFILL_HOST : DECODE_HOST}\n`,
      });
  }
  return out;
}

function proxyLine(n, action, us, id) {
  const wall = action === "Start to schedule" || !values["boot-clock"];
  const time = stamp(wall ? us : us - BOOTED * 1e6);
  const scheduler = action.endsWith(" scheduled");
  return `${prefix(Math.floor(us / 1e6))} [info] 1234#0: ${scheduler ? "" : `*${n + 1} `}<<<Action: ${action}; Timestamp:${time}; RequestID:${id}${
    scheduler
      ? ""
      : ', client: 127.0.0.1, server: localhost, request: "POST /v1/chat/completions HTTP/1.1", host: "127.0.0.1:7000"'
  }\n`;
}

mkdirSync(folder, { recursive: true });
const files = ["nginx_10.0.0.1.log", ...(values["proxy-only"] ? [] : ["prefill.log", "decode.log"])];
// One pass a file: a pass costs less than holding three streams back for one another would.
for (const file of files) {
  order = 0;
  const text = function* () {
    let chunk = "";
    for (const line of lines(Number(values.requests), Number(values.rate), Number(values.seed))) {
      if (line.file !== file) continue;
      chunk += line.text;
      if (chunk.length > 1 << 18) {
        yield chunk;
        chunk = "";
      }
    }
    if (chunk !== "") yield chunk;
  };
  const name = join(folder, values.gzip ? `${file}.gz` : file);
  await pipeline(Readable.from(text()), ...(values.gzip ? [createGzip({ level: 1 })] : []), createWriteStream(name));
}
