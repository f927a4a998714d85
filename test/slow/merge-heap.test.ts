import { expect, it } from "vitest";
import { requestLines } from "../kit/made-up.ts";
import { MergeRun } from "../kit/merge-run.ts";

const UUID = "64c201b8-f627-4fa3-940a-a2862a68a07a";

it("request_merge keeps the heap flat: 200,000 merged requests take at most 1.1 times that of 20,000", async () => {
  const run = await new MergeRun({ wait: "1s" }).start();
  const { gc } = globalThis as { gc?: () => void };
  if (!gc) throw new Error("run me with --expose-gc: npm run test:slow");
  const heapAfter = async (from: number, to: number): Promise<number> => {
    for (let n = from; n < to; n += 500) {
      const lines: Buffer[] = [];
      for (let i = n; i < n + 500; i++) {
        lines.push(
          ...requestLines({ id: `${String(i).padStart(8, "0")}${UUID.slice(8)}`, connection: i, at: 100 + i / 500 }),
        );
      }
      await run.lines(lines);
      await run.clock.advance(1000);
      run.sink.batches.length = 0;
    }
    await run.clock.advance(10_000);
    run.sink.batches.length = 0;
    gc();
    return process.memoryUsage().heapUsed;
  };
  const small = await heapAfter(0, 20_000);
  const large = await heapAfter(20_000, 200_000);
  console.log(
    `heap after 20,000 requests ${(small / 2 ** 20).toFixed(1)} MiB, after 200,000 ${(large / 2 ** 20).toFixed(1)} MiB, ratio ${(large / small).toFixed(3)}`,
  );
  expect(large / small).toBeLessThan(1.1);
  await run.stop();
});
