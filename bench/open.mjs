/**
 * What a span costs in a table with many open requests: `node bench/open.mjs OPEN` prints {spans, cpu}. Requests without an end,
 * and 64 decode spans a batch of as many different ones.
 */
import { newMerge, source } from "./merge.mjs";
import { exportRequests } from "./spans.mjs";

const open = Number(process.argv[2] ?? 1000);
const SPANS_A_BATCH = 64;
const BATCHES = 128;
const ROUNDS = 24;
const EPOCH = 1_795_321_800;
const prefix = "2026/11/22 04:30:00 [info] 1234#0: ";
const tail =
  ', client: 127.0.0.1, server: localhost, request: "POST /v1/chat/completions HTTP/1.1", host: "127.0.0.1:7000"\n';
const ACTIONS = [
  "Start to schedule",
  "Time received",
  "Enter state P running",
  "Finish P running",
  "Enter state D running",
];

const idOf = (n) => `${n.toString(16).padStart(8, "0")}-5b1d-4c8e-9d57-${(n * 7919).toString(16).padStart(12, "0")}`;

const merge = newMerge({ maxRequests: 2 * open });
for (let n = 0; n < open; n++) {
  const lines = ACTIONS.map(
    (action, at) =>
      `${prefix}*${n + 1} <<<Action: ${action}; Timestamp:${EPOCH}.00000${at}; RequestID:${idOf(n)}${tail}`,
  );
  const bytes = Buffer.from(lines.join(""));
  for (let from = 0, feed = bytes.indexOf(10); feed >= 0; from = feed + 1, feed = bytes.indexOf(10, from))
    merge.readLine(source, bytes, from, feed, 0);
}
if (merge.openRequests !== open) throw new Error(`${merge.openRequests} of ${open} requests are open`);

// Spread over the table, as far apart as it lets them be.
const step = Math.max(1, Math.floor(open / (SPANS_A_BATCH * BATCHES)));
const requests = Array.from({ length: SPANS_A_BATCH * BATCHES }, (_, n) => {
  const startUs = EPOCH * 1e6;
  return { id: idOf((n * step) % open), startUs, endUs: startUs + 400_000 };
});
const batches = exportRequests(requests, SPANS_A_BATCH, "protobuf");
let spans = 0;
const round = () => {
  for (const bytes of batches)
    merge.takeSpans(bytes, SPANS_A_BATCH, 1, false, ({ items }) => {
      spans += items;
    });
};
for (let n = 0; n < ROUNDS; n++) round();
spans = 0;
const before = process.cpuUsage();
for (let n = 0; n < ROUNDS; n++) round();
const used = process.cpuUsage(before);
process.stdout.write(`${JSON.stringify({ spans, cpu: (used.user + used.system) / 1e6 })}\n`);
