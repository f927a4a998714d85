/** Logs for the merge: of requests that spans name, and the captures' mix of lines without end. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const CAPTURE = fileURLToPath(new URL("../test/fixtures/captures/proxy-vllm/grpc/error.log", import.meta.url));

/** Writes `requests` finished requests into `folder`. @returns the log, and each request's id and when it was decoded */
export function knownRequests(folder, requests) {
  const tool = fileURLToPath(new URL("generate-log.mjs", import.meta.url));
  const options = ["--requests", String(requests), "--rate", "1000", "--proxy-only"];
  execFileSync(process.execPath, [tool, folder, ...options]);
  const path = join(folder, "nginx_10.0.0.1.log");
  const found = new Map();
  for (const [, action, seconds, micros, id] of readFileSync(path, "utf8").matchAll(
    /Action: (Enter state D running|Received all tokens); Timestamp:(\d+)\.(\d{6}); RequestID:([\w-]+)/g,
  )) {
    const us = Number(seconds) * 1e6 + Number(micros);
    if (action === "Received all tokens") found.get(id).endUs = us;
    else found.set(id, { id, startUs: us });
  }
  return { path, requests: [...found.values()] };
}

/** A capture's log, to be had any number of times with other request ids and connections. */
export class EndlessLog {
  #text = readFileSync(CAPTURE, "latin1");
  /** Of one copy. */
  requests = new Set(this.#text.match(/Start to schedule; Timestamp:[\d.]+; RequestID:[\w-]+/g)).size;
  lines = this.#text.split("\n").length - 1;

  /** The copy number `n`. */
  copy(n) {
    const start = n.toString(16).padStart(8, "0");
    const text = this.#text
      .replace(/[0-9a-f]{8}(?=-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/g, start)
      .replace(/: \*(\d+) /g, (_, connection) => `: *${Number(connection) + n * 10_000} `);
    return Buffer.from(text, "latin1");
  }
}
