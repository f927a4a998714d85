import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { Census } from "./census.ts";
import { passThrough } from "./configs.ts";
import { traceOfSender } from "./load.ts";
import { recordFigures } from "./report.ts";
import { expectNothingLost, pass, runScenario } from "./scenario.ts";
import { exportRequest, plainSpan } from "./sent-spans.ts";
import { Victim } from "./victim.ts";

type Command = (config: string) => readonly [string, ...string[]];

const KILLS = 15;
/** A queue that is silent for so long has nothing more. */
const STILL_MS = 4000;

/** Starts the real Collector of `node tools/peers.mjs build otelcol`; undefined when it is not built. */
function collector(): Command | undefined {
  const tool = fileURLToPath(new URL("../../tools/peers.mjs", import.meta.url));
  try {
    const path = execFileSync(process.execPath, [tool, "path", "otelcol"], { encoding: "utf8", stdio: "pipe" }).trim();
    return (config) => [path, "--config", config];
  } catch {
    console.log("skipped: the Collector is not built here (node tools/peers.mjs build otelcol)");
    return undefined;
  }
}

/** Both run the same file: otlp, batch, a durable queue. */
function killed(name: string, command?: Command) {
  return runScenario({
    fault: `kill -9, ${KILLS} times, batch + file_storage: ${name}`,
    config: passThrough,
    ...(command ? { command } : {}),
    stillMs: STILL_MS,
    async disturb({ victim, random }) {
      for (let round = 0; round < KILLS; round++) {
        await pass(300 + random() * 300);
        await victim.kill();
        await victim.start();
      }
    },
  });
}

/** Five requests of a span each, one after the other, before a backend that is away and then comes. */
async function fullQueue(name: string, command?: Command): Promise<{ acknowledged: number; lost: number }> {
  const sink = await OtlpSink.start();
  const { port } = sink;
  await sink.close();
  const config = passThrough(`127.0.0.1:${port}`, { queue: "storage: file_storage, queue_size: 1" });
  const victim = await Victim.create(config, command ? { command } : {});
  let back: OtlpSink | undefined;
  const began = performance.now();
  try {
    await victim.start();
    const acknowledged = new Set<number>();
    for (let number = 1; number <= 5; number++) {
      const response = await fetch(`http://127.0.0.1:${victim.places.http}/v1/traces`, {
        method: "POST",
        headers: { "content-type": "application/x-protobuf" },
        body: Uint8Array.from(exportRequest([plainSpan(number, traceOfSender(0))])),
      });
      if (response.status === 200) acknowledged.add(number);
      await pass(400); // longer than the batch processor's timeout
    }
    back = await OtlpSink.start({ port });
    const census = new Census();
    for (let seen = -1, since = performance.now(); performance.now() - since < STILL_MS; await pass(50)) {
      census.take(back);
      if (back.seen !== seen) since = performance.now();
      seen = back.seen;
    }
    const lost = census.missing([acknowledged]).length;
    recordFigures({
      fault: `queue_size 1, backend away, then back: ${name}`,
      sent: 5,
      acknowledged: acknowledged.size,
      refused: 5 - acknowledged.size,
      logged: 0,
      atSink: census.atSink,
      duplicates: census.duplicates,
      unequal: census.unequal,
      forGood: 0,
      lost,
      seconds: (performance.now() - began) / 1000,
    });
    return { acknowledged: acknowledged.size, lost };
  } finally {
    await victim.remove();
    await back?.close();
  }
}

const theirs = collector();

describe("the same configuration in omnishim", () => {
  it(`loses nothing in ${KILLS} kill -9`, async () => expectNothingLost(await killed("omnishim"), 1000));

  it("refuses what a full queue cannot take, and loses nothing", async () => {
    const { acknowledged, lost } = await fullQueue("omnishim");
    expect(lost).toBe(0);
    expect(acknowledged).toBe(1);
  });
});

describe.skipIf(theirs === undefined)("the same configuration in the Collector", () => {
  it(`loses acknowledged spans in ${KILLS} kill -9`, async () => {
    const { lost, acknowledged } = await killed("Collector", theirs);
    expect(acknowledged).toBeGreaterThan(1000);
    expect(lost).toBeGreaterThan(0);
  });

  it("acknowledges what a full queue cannot take, and loses it", async () => {
    expect(await fullQueue("Collector", theirs)).toEqual({ acknowledged: 5, lost: 4 });
  });
});
