import { describe, expect, it } from "vitest";
import { RecordingSink } from "../../test/kit/sink.ts";
import type { Traces } from "../pdata/payload.ts";
import type { Consumer } from "./api.ts";
import { ConsumeError } from "./errors.ts";
import { fanOut } from "./fanout.ts";

const batch = (): Traces => ({ signal: "traces", bytes: new Uint8Array([1, 2, 3]), items: 1 });

/** Writes into what it gets, later. */
class Writer implements Consumer<"traces"> {
  readonly mutatesData = true;
  readonly got: Traces[] = [];
  async consume(given: Traces): Promise<void> {
    this.got.push(given);
    await Promise.resolve();
    given.bytes[0] = 99;
  }
}

function refusing(error: unknown): Consumer<"traces"> {
  return {
    mutatesData: false,
    consume() {
      throw error;
    },
  };
}

describe("fanOut", () => {
  it("is the consumer itself when there is one", () => {
    const sink = new RecordingSink<"traces">();
    expect(fanOut([sink])).toBe(sink);
  });

  it("gives readers the same bytes and writers a copy each", async () => {
    const sinks = [new RecordingSink<"traces">(), new RecordingSink<"traces">()] as const;
    const writers = [new Writer(), new Writer()] as const;
    const fan = fanOut([writers[0], sinks[0], writers[1], sinks[1]]);
    expect(fan.mutatesData).toBe(false);
    const given = batch();
    await fan.consume(given, {});
    expect(sinks[0].batches[0]?.bytes).toBe(given.bytes);
    expect(sinks[1].batches[0]?.bytes).toBe(given.bytes);
    expect([...given.bytes]).toEqual([1, 2, 3]);
    expect([...(writers[0].got[0]?.bytes ?? [])]).toEqual([99, 2, 3]);
    expect(writers[0].got[0]?.bytes.buffer).not.toBe(writers[1].got[0]?.bytes.buffer);
  });

  it("gives the original to the last writer when all write, and says so", async () => {
    const writers = [new Writer(), new Writer()] as const;
    const fan = fanOut([...writers]);
    expect(fan.mutatesData).toBe(true);
    const given = batch();
    await fan.consume(given, {});
    expect(writers[1].got[0]?.bytes).toBe(given.bytes);
    expect(writers[0].got[0]?.bytes).not.toBe(given.bytes);
    expect([...(writers[0].got[0]?.bytes ?? [])]).toEqual([99, 2, 3]);
  });

  it("gives the batch to all when one throws at once", async () => {
    const sink = new RecordingSink<"traces">();
    const error = new ConsumeError("permanent", "no");
    await expect(fanOut([refusing(error), sink]).consume(batch(), {})).rejects.toBe(error);
    expect(sink.items).toBe(1);
  });

  it("asks the sender to send again when any consumer wants that, after the longest wait", async () => {
    const fan = fanOut([
      refusing(new ConsumeError("permanent", "bad data", { grpcCode: 3 })),
      refusing(new ConsumeError("retryable", "queue full", { retryAfterMs: 100, grpcCode: 14 })),
      refusing(new ConsumeError("retryable", "away", { retryAfterMs: 2000 })),
    ]);
    const error = await fan.consume(batch(), {}).catch((caught: ConsumeError) => caught);
    expect(error).toMatchObject({
      disposition: "retryable",
      retryAfterMs: 2000,
      grpcCode: 14,
      message: "bad data; queue full; away",
    });
  });

  it("is permanent when all refusals are", async () => {
    const fan = fanOut([refusing(new ConsumeError("permanent", "a")), refusing(new ConsumeError("permanent", "b"))]);
    await expect(fan.consume(batch(), {})).rejects.toMatchObject({ disposition: "permanent", message: "a; b" });
  });

  it("takes anything else that is thrown as retryable", async () => {
    const fan = fanOut([refusing(new TypeError("oops")), new RecordingSink<"traces">()]);
    await expect(fan.consume(batch(), {})).rejects.toMatchObject({ disposition: "retryable", message: "oops" });
  });
});
