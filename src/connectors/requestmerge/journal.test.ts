import { describe, expect, it } from "vitest";
import { KeptLog } from "../../../test/kit/kept-log.ts";
import { requestLines, vllmSpan } from "../../../test/kit/made-up.ts";
import { attribute, MergeRun, type OutSpan } from "../../../test/kit/merge-run.ts";
import { TestHost } from "../../../test/kit/settings.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { encodeTraces } from "../../pdata/encode.ts";
import { requestMergeConnectorFactory } from "./factory.ts";
import { decodeSkips, LINES, LINES_AGAIN, SPANS } from "./journal-records.ts";

const ROOT = "Trace for Omni Proxy";
const UUID = "64c201b8-f627-4fa3-940a-a2862a68a07a";
const STORAGE = { storage: "file_storage" };
const never = new AbortController().signal;

const start = (storage: KeptLog, over: object = {}): Promise<MergeRun> =>
  new MergeRun({ ...STORAGE, ...over }).start(new TestHost({ file_storage: storage }));

/** Lets `span_wait` pass, in case the spans wait for lines. */
async function released(run: MergeRun, acknowledged: Promise<void>): Promise<void> {
  await run.clock.advance(600);
  await acknowledged;
}

const roots = (run: MergeRun): OutSpan[] => run.output().filter(({ name }) => name === ROOT);

describe("request_merge with a storage", () => {
  it("acknowledges lines when they are written down, and refuses them when they cannot be", async () => {
    const storage = new KeptLog();
    const run = await start(storage);
    await run.lines(requestLines({ id: UUID, connection: 1, at: 100 }));
    expect(storage.records.size).toBe(1);
    storage.isFull = true;
    await expect(run.lines(requestLines({ id: UUID, connection: 2, at: 101 }))).rejects.toMatchObject({
      disposition: "retryable",
      grpcCode: 8,
    });
    await run.clock.advance(20_000);
    expect(roots(run)).toHaveLength(1);
  });

  it("goes on with a request that was open when the process was killed", async () => {
    const storage = new KeptLog();
    const first = await start(storage);
    const lines = requestLines({ id: UUID, connection: 1, at: 100 });
    await first.lines(lines.slice(0, 9));
    await released(first, first.spans(encodeTraces([vllmSpan({ id: `cmpl-${UUID}-0`, role: "prefill", at: 100 })])));
    const second = await start(storage);
    await second.lines(lines.slice(9));
    await released(second, second.spans(encodeTraces([vllmSpan({ id: `cmpl-${UUID}-0`, role: "decode", at: 100 })])));
    await second.clock.advance(20_000);
    const [root] = roots(second);
    expect(second.output()).toHaveLength(15);
    expect(attribute(root as OutSpan, "omni.missing_actions")).toBeUndefined();
    expect(attribute(root as OutSpan, "gen_ai.usage.completion_tokens")).toBe(6n);
    expect([...first.output(), ...second.output()].every(({ traceId }) => traceId === root?.traceId)).toBe(true);
  });

  it("keeps the trace that a request's spans were given before the crash", async () => {
    const storage = new KeptLog();
    const first = await start(storage);
    // The first use of a UUID has its bits as trace id, the second has not; the journal has forgotten the first by then.
    await first.lines(requestLines({ id: UUID, connection: 1, at: 100 }));
    await first.clock.advance(20_000);
    const second = requestLines({ id: UUID, connection: 2, at: 130 });
    await first.lines(second.slice(0, 9));
    await released(first, first.spans(encodeTraces([vllmSpan({ id: `cmpl-${UUID}-0`, role: "prefill", at: 130 })])));
    const given = first.output().at(-1)?.traceId;
    await first.clock.advance(40_000);
    await first.lines([Buffer.from("2026/11/22 04:30:43 [info] 10#0: nothing")]);
    expect(given).not.toBe(UUID.replaceAll("-", ""));
    const again = await start(storage);
    await again.lines(second.slice(9));
    await again.clock.advance(20_000);
    expect(roots(again).map(({ traceId }) => traceId)).toEqual([given]);
  });

  it("sends nothing again that was handed on, and forgets it", async () => {
    const storage = new KeptLog();
    const first = await start(storage);
    await first.lines(requestLines({ id: UUID, connection: 1, at: 100 }));
    await first.clock.advance(12_000);
    expect(roots(first)).toHaveLength(1);
    const second = await start(storage);
    await second.clock.advance(60_000);
    await second.lines(requestLines({ id: "other", connection: 2, at: 200 }));
    await second.clock.advance(60_000);
    expect(roots(second)).toHaveLength(1);
    await second.lines([Buffer.from("2026/11/22 04:30:43 [info] 10#0: nothing")]);
    await second.clock.advance(60_000);
    await second.lines([Buffer.from("2026/11/22 04:30:43 [info] 10#0: nothing")]);
    expect(storage.records.size).toBe(1);
  });

  it("sends what the next stage had not taken when the process was killed, however long that took", async () => {
    const storage = new KeptLog();
    const first = await start(storage);
    first.sink.fault = () => {
      throw new ConsumeError("retryable", "full");
    };
    await first.lines(requestLines({ id: UUID, connection: 1, at: 100 }));
    for (let step = 0; step < 30; step++) {
      await first.clock.advance(10_000);
      await first.lines([Buffer.from(`2026/11/22 04:30:43 [info] 10#0: line ${step}`)]);
    }
    const second = await start(storage);
    await second.clock.advance(20_000);
    expect(roots(second)).toHaveLength(1);
  });

  it("shutdown sends ended requests, keeps open ones, and keeps what is refused until the deadline", async () => {
    const storage = new KeptLog();
    const first = await start(storage);
    await first.lines([
      ...requestLines({ id: "ended", connection: 1, at: 100 }),
      ...requestLines({ id: "open", connection: 2, at: 100, end: false }),
    ]);
    await first.connector.shutdown(never);
    expect(roots(first).map((root) => attribute(root, "request_id"))).toEqual(["ended"]);

    const second = await start(storage);
    second.sink.fault = () => {
      throw new ConsumeError("retryable", "full");
    };
    await second.lines(requestLines({ id: "refused", connection: 3, at: 110 }));
    await second.connector.shutdown(AbortSignal.abort(new Error("too late")));
    expect(await second.metric("omnishim_lost_spans")).toBe(0);

    const third = await start(storage);
    await third.lines(requestLines({ id: "open", connection: 2, at: 100 }).slice(-1));
    await third.clock.advance(20_000);
    expect(roots(third).map((root) => [attribute(root, "request_id"), attribute(root, "omni.incomplete")])).toEqual(
      expect.arrayContaining([
        ["open", undefined],
        ["refused", undefined],
      ]),
    );
    expect(roots(third)).toHaveLength(2);
  });

  it.each([
    ["in one batch with more behind them", [[9, 40]]],
    [
      "in smaller batches",
      [
        [9, 11],
        [11, 40],
      ],
    ],
    ["one by one", Array.from({ length: 31 }, (_, index) => [9 + index, 10 + index])],
  ])("knows lines that come again because their reader was killed too, %s", async (_, cuts) => {
    const lines = [
      ...requestLines({ id: "first", connection: 1, at: 100 }),
      ...requestLines({ id: "second", connection: 1, at: 101 }),
    ];
    const storage = new KeptLog();
    const first = await start(storage);
    await first.lines(lines.slice(0, 9));
    await first.lines(lines.slice(9, 20));
    const second = await start(storage);
    for (const [from, to] of cuts) await second.lines(lines.slice(from, to));
    // Killed once more before it was written down that the last batch was taken.
    const third = await start(storage);
    await third.lines(lines.slice(cuts.at(-1)?.[0]));
    await third.clock.advance(20_000);
    expect(
      roots(third).map((root) => [attribute(root, "request_id"), attribute(root, "omni.missing_actions")]),
    ).toEqual([
      ["first", undefined],
      ["second", undefined],
    ]);
    expect(third.output()).toHaveLength(2 * 14);
  });

  it("knows lines that come again after they were refused once", async () => {
    const storage = new KeptLog();
    const lines = requestLines({ id: "first", connection: 1, at: 100 });
    const first = await start(storage);
    await first.lines(lines);
    const second = await start(storage);
    storage.isFull = true;
    await expect(second.lines(lines)).rejects.toThrow(ConsumeError);
    storage.isFull = false;
    await second.lines(lines);
    const written = [...storage.records].at(-1);
    expect(written?.tag).toBe(LINES_AGAIN);
    expect(decodeSkips(written?.payload as Buffer).skips).toEqual([lines.length]);
  });

  it("refuses lines, and lets nothing go, when the journal is full because the next stage takes no traces", async () => {
    const storage = new KeptLog();
    const run = await start(storage, { max_storage_mib: 1 });
    run.sink.fault = () => {
      throw new ConsumeError("retryable", "full");
    };
    await run.lines(requestLines({ id: UUID, connection: 1, at: 100 }));
    await run.clock.advance(11_000);
    const filler = [Buffer.alloc(60_000, "x")];
    let taken = 0;
    let refusal: unknown;
    for (; taken < 40 && refusal === undefined; taken++) {
      await run.clock.advance(1000);
      await run.lines(filler).catch((error: unknown) => {
        refusal = error;
      });
    }
    expect(refusal).toMatchObject({ disposition: "retryable", retryAfterMs: 1000 });
    expect((refusal as Error).message).toContain("max_storage_mib (1)");
    expect(taken).toBeGreaterThan(15);
    await run.clock.advance(60_000);
    expect(await run.metric("omnishim_unprotected_batches")).toBe(0);
    const copy = new KeptLog();
    for (const record of storage.records) copy.records.add(record);
    const second = await start(copy, { max_storage_mib: 1 });
    await second.clock.advance(20_000);
    expect(roots(second)).toHaveLength(1);
    run.sink.fault = undefined;
    await run.clock.advance(20_000);
    await run.lines(filler);
  });

  it("leaves half of the storage to the sending queues", async () => {
    const storage = new KeptLog();
    storage.capacityBytes = 1024 * 1024;
    const run = await start(storage);
    await run.lines(requestLines({ id: "open", connection: 1, at: 100, end: false }));
    for (let step = 0; step < 30; step++) {
      await run.clock.advance(1000);
      await run.lines([Buffer.alloc(50_000, "x")]);
    }
    expect(await run.metric("omnishim_unprotected_batches")).toBeGreaterThan(0);
    expect([...storage.records].reduce((sum, { size }) => sum + size, 0)).toBeLessThan(600_000);
  });

  it("leaves out what it cannot read, and goes on with the rest", async () => {
    const storage = new KeptLog();
    const first = await start(storage);
    for (const [payload, tag] of [
      [Buffer.from("not JSON"), SPANS],
      [Buffer.from([255, 255]), LINES_AGAIN],
      [Buffer.from([0x0a, 0xff]), LINES],
      [Buffer.from("?"), 99],
    ] as const)
      storage.records.add({ payload, tag, size: payload.length });
    await first.lines(requestLines({ id: UUID, connection: 1, at: 100 }));
    const second = await start(storage);
    await second.clock.advance(20_000);
    expect(roots(second)).toHaveLength(1);
  });

  it("lets the oldest go when max_storage_mib is used up, counts it and goes on", async () => {
    const storage = new KeptLog();
    const run = await start(storage, { max_storage_mib: 1 });
    await run.lines(requestLines({ id: "open", connection: 1, at: 100, end: false }));
    for (let step = 0; step < 40; step++) {
      await run.clock.advance(1000);
      await run.lines([Buffer.alloc(50_000, "x")]);
    }
    expect(await run.metric("omnishim_unprotected_batches")).toBeGreaterThan(0);
    expect([...storage.records].reduce((sum, { size }) => sum + size, 0)).toBeLessThan(1_200_000);
  });

  it("names its storage for the check of the configuration", () => {
    expect(requestMergeConnectorFactory.configure(STORAGE).extensions).toEqual([
      { path: ["storage"], id: "file_storage" },
    ]);
    expect(requestMergeConnectorFactory.configure(null).extensions).toEqual([]);
  });
});
