import { describe, expect, it } from "vitest";
import { OtlpClient } from "../kit/otlp-client.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { passThrough } from "./configs.ts";
import { traceOfSender } from "./load.ts";
import { recordLatency } from "./report.ts";
import { exportRequest, plainSpan } from "./sent-spans.ts";
import { Victim, type VictimPlaces } from "./victim.ts";

const SPANS = 20;
const REQUESTS = 400;
const WARM_UP = 200;

/** Milliseconds from sending to the acknowledgement, sorted, with so many senders that wait for each answer. */
async function acknowledgements(
  config: (endpoint: string) => (places: VictimPlaces) => string,
  senders: number,
): Promise<number[]> {
  const sink = await OtlpSink.start();
  const victim = await Victim.create(config(sink.address));
  const body = exportRequest(Array.from({ length: SPANS }, (_, index) => plainSpan(index + 1, traceOfSender(0))));
  const taken: number[] = [];
  try {
    await victim.start();
    const send = async (count: number): Promise<void> => {
      const client = new OtlpClient(`127.0.0.1:${victim.places.grpc}`);
      for (let sent = 0; sent < count; sent++) {
        const began = performance.now();
        await client.send("traces", body, 10_000);
        taken.push(performance.now() - began);
      }
      client.close();
    };
    const all = (count: number) => Promise.all(Array.from({ length: senders }, () => send(Math.ceil(count / senders))));
    await all(WARM_UP);
    taken.length = 0;
    await all(REQUESTS);
    return taken.sort((a, b) => a - b);
  } finally {
    await victim.remove();
    await sink.close();
  }
}

const memory = { queue: "queue_size: 100000" };
const withoutBatch = (endpoint: string, changes: Parameters<typeof passThrough>[1]) => (places: VictimPlaces) =>
  passThrough(endpoint, changes)(places).replace("processors: [batch], ", "");

describe("an acknowledgement", () => {
  it.each<[string, (endpoint: string) => (places: VictimPlaces) => string]>([
    ["queue in memory", (endpoint) => withoutBatch(endpoint, memory)],
    ["durable queue, fsync: false", (endpoint) => withoutBatch(endpoint, { storage: "fsync: false" })],
    ["durable queue", (endpoint) => withoutBatch(endpoint, {})],
    ["batch, queue in memory", (endpoint) => passThrough(endpoint, memory)],
    ["batch, durable queue", (endpoint) => passThrough(endpoint)],
  ])("takes so long: %s", async (setup, config) => {
    for (const senders of [1, 16]) {
      const taken = await acknowledgements(config, senders);
      const at = (part: number): number => taken[Math.floor(taken.length * part)] as number;
      recordLatency({ setup, senders, median: at(0.5), p99: at(0.99) });
      expect(at(0.5)).toBeLessThan(1000);
    }
  });
});
