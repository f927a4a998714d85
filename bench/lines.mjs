/** One measurement of the merge alone: `node bench/lines.mjs SECONDS` prints {lines, cpu}; the log comes at 2,000 requests/s. */
import { EndlessLog } from "./log.mjs";
import { newMerge, source } from "./merge.mjs";

const REQUESTS_A_SECOND = 2000;
const LEAST_LINES = 400_000;
const seconds = Number(process.argv[2] ?? 2);

const merge = newMerge();
const log = new EndlessLog();
let copies = 0;
let spans = 0;

/** @returns CPU seconds of reading one copy and of what became due; making the copy is not counted. */
function step() {
  const bytes = log.copy(copies);
  const now = (copies++ * log.requests * 1000) / REQUESTS_A_SECOND;
  const before = process.cpuUsage();
  let start = 0;
  for (let feed = bytes.indexOf(10); feed >= 0; feed = bytes.indexOf(10, start)) {
    merge.readLine(source, bytes, start, feed, now);
    start = feed + 1;
  }
  for (let output = merge.due(now); output; output = merge.due(now)) spans += output.items;
  const used = process.cpuUsage(before);
  return (used.user + used.system) / 1e6;
}

// Ended requests wait ten seconds for their spans: what comes out keeps pace with what goes in from then on.
while (copies * log.lines < 2 * LEAST_LINES || spans === 0) step();
let cpu = 0;
const first = copies;
while (cpu < seconds || (copies - first) * log.lines < LEAST_LINES) cpu += step();
process.stdout.write(`${JSON.stringify({ lines: (copies - first) * log.lines, cpu })}\n`);
