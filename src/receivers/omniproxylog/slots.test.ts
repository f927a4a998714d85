import { describe, expect, it } from "vitest";
import { Slots } from "./slots.ts";

describe("Slots", () => {
  const never = new AbortController().signal;

  it("gives buffers out in the order of asking and never more than its count", async () => {
    const slots = new Slots(2, 16);
    const [a, b] = [await slots.take(never), await slots.take(never)];
    expect(a).not.toBe(b);
    const order: string[] = [];
    const third = slots.take(never).then((buffer) => {
      order.push("third");
      return buffer;
    });
    const fourth = slots.take(never).then((buffer) => {
      order.push("fourth");
      return buffer;
    });
    await Promise.resolve();
    expect(order).toEqual([]);
    slots.give(b);
    slots.give(a);
    expect(await third).toBe(b);
    expect(await fourth).toBe(a);
    expect(order).toEqual(["third", "fourth"]);
  });

  it("lets nobody in between a return and the one who waited for it", async () => {
    const slots = new Slots(1, 16);
    const buffer = await slots.take(never);
    const waiting = slots.take(never);
    slots.give(buffer);
    const late = slots.take(never);
    expect(await waiting).toBe(buffer);
    slots.give(buffer);
    expect(await late).toBe(buffer);
  });

  it("forgets who gave up waiting", async () => {
    const slots = new Slots(1, 16);
    const buffer = await slots.take(never);
    const stop = new AbortController();
    const waiting = slots.take(stop.signal);
    stop.abort(new Error("stopped"));
    await expect(waiting).rejects.toThrow("stopped");
    slots.give(buffer);
    expect(await slots.take(never)).toBe(buffer);
    await expect(slots.take(stop.signal)).rejects.toThrow("stopped");
  });
});
