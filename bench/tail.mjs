/**
 * The process that writes the live log: 2,000 requests/s of the captures' mix, 80,000 lines/s, in steps of 50 ms by the clock.
 * Speaks over IPC: {file, copies} prepares and is answered with {requests, lines} of a copy; "go" writes until "pause", which
 * is answered with {requests, lines} written.
 */
import { appendFileSync } from "node:fs";
import { EndlessLog } from "./log.mjs";

const REQUESTS_A_SECOND = 2000;
const STEP_MS = 50;

const log = new EndlessLog();
let file;
let copies;
let timer;
let written = 0;
let startedAt = 0;

function step() {
  const due = Math.floor(((performance.now() - startedAt) / 1000) * (REQUESTS_A_SECOND / log.requests));
  while (written < due && written < copies.length) appendFileSync(file, copies[written++]);
}

process.on("message", (message) => {
  if (message.file) {
    file = message.file;
    // Made beforehand: what is being measured shares the machine.
    copies = Array.from({ length: message.copies }, (_, n) => log.copy(n + 1));
    process.send("ready");
  } else if (message === "go") {
    startedAt = performance.now();
    timer = setInterval(step, STEP_MS);
  } else {
    clearInterval(timer);
    process.send({ requests: written * log.requests, lines: written * log.lines });
  }
});
process.on("disconnect", () => process.exit());
