import { describe, expect, it } from "vitest";
import { FakeClock, settle } from "../../../test/kit/clock.ts";
import { testSettings } from "../../../test/kit/settings.ts";
import { RecordingSink } from "../../../test/kit/sink.ts";
import { decodeSection } from "../../config/schema.ts";
import type { Consumer } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import { schema } from "./config.ts";
import { Delivery } from "./delivery.ts";
import { Telemetry } from "./telemetry.ts";

function delivery(next: Consumer<"logs">, retry: Record<string, unknown> = {}) {
  const clock = new FakeClock();
  const settings = testSettings("omni_proxy_log/a", { clock });
  const stop = new AbortController();
  const { config } = decodeSection(schema, { include: ["/x"], retry_on_failure: retry });
  const made = new Delivery(next, config.retry_on_failure, clock, new Telemetry(settings), stop.signal);
  const count = async (name: string): Promise<string | undefined> =>
    (await settings.metrics.text())
      .split("\n")
      .find((line) => line.startsWith(`otelcol_receiver_${name}_log_records{`));
  return { made, clock, stop, count };
}

/** A sink that refuses the first batches with these errors, one each. */
function refusing(...errors: unknown[]): RecordingSink<"logs"> {
  const sink = new RecordingSink<"logs">();
  sink.fault = () => {
    if (errors.length > 0) throw errors.shift();
  };
  return sink;
}

const bytes = Buffer.from("batch");

describe("Delivery", () => {
  it("counts what was accepted", async () => {
    const sink = refusing();
    const { made, count } = delivery(sink);
    await made.deliver(bytes, 3, "/x");
    expect(sink.batches).toEqual([{ signal: "logs", bytes, items: 3 }]);
    expect(await count("accepted")).toBe(
      'otelcol_receiver_accepted_log_records{receiver="omni_proxy_log/a",transport="file"} 3',
    );
    expect(await count("refused")).toBeUndefined();
  });

  it("tries again after growing pauses, up to the longest, while the refusal is retryable", async () => {
    const sink = refusing(...Array.from({ length: 4 }, () => new Error("queue is full")));
    const { made, clock } = delivery(sink, { initial_interval: "100ms", max_interval: "300ms" });
    const times: number[] = [];
    const { fault } = sink;
    sink.fault = (batch) => {
      times.push(clock.monotonic());
      return fault?.(batch);
    };
    const done = made.deliver(bytes, 1, "/x");
    await clock.advance(5000);
    await done;
    expect(times).toEqual([0, 100, 300, 600, 900]);
    expect(sink.items).toBe(1);
  });

  it("waits as long as the refusal asks for", async () => {
    const sink = refusing(new ConsumeError("retryable", "later", { retryAfterMs: 2000 }));
    const { made, clock } = delivery(sink);
    const done = made.deliver(bytes, 1, "/x");
    await clock.advance(1999);
    expect(sink.items).toBe(0);
    await clock.advance(1);
    await done;
    expect(sink.items).toBe(1);
  });

  it("skips and counts what is refused for good", async () => {
    const sink = refusing(new ConsumeError("permanent", "bad data"));
    const { made, count } = delivery(sink);
    await made.deliver(bytes, 7, "/x");
    expect(sink.items).toBe(0);
    expect(await count("refused")).toBe(
      'otelcol_receiver_refused_log_records{receiver="omni_proxy_log/a",transport="file"} 7',
    );
  });

  it("skips and counts a refused batch at once when retrying is off", async () => {
    const { made, count } = delivery(refusing(new Error("full")), { enabled: false });
    await made.deliver(bytes, 2, "/x");
    expect(await count("refused")).toContain(" 2");
  });

  it("gives up when the next try would come after max_elapsed_time", async () => {
    const sink = refusing(...Array.from({ length: 100 }, () => new Error("full")));
    const { made, clock, count } = delivery(sink, {
      initial_interval: "1s",
      max_interval: "1s",
      max_elapsed_time: "3s",
    });
    const done = made.deliver(bytes, 2, "/x");
    await clock.advance(2000);
    await done;
    expect(await count("refused")).toContain(" 2");
  });

  it("rejects without counting when it is stopped between tries", async () => {
    const { made, stop, count } = delivery(refusing(new Error("full"), new Error("full")));
    const done = made.deliver(bytes, 2, "/x");
    await settle();
    stop.abort(new Error("stopped"));
    await expect(done).rejects.toThrow("stopped");
    expect(await count("refused")).toBeUndefined();
    expect(await count("accepted")).toBeUndefined();
  });

  it("gives a consumer that writes into its batches a copy at each try", async () => {
    const seen: string[] = [];
    const scribbler: Consumer<"logs"> = {
      mutatesData: true,
      async consume(batch) {
        seen.push(Buffer.from(batch.bytes).toString());
        batch.bytes.fill(0);
        if (seen.length < 2) throw new Error("again");
      },
    };
    const { made, clock } = delivery(scribbler);
    const done = made.deliver(bytes, 1, "/x");
    await clock.advance(1000);
    await done;
    expect(seen).toEqual(["batch", "batch"]);
  });
});
