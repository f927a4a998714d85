import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashText, homeOf, type Remembered, RememberedRequests } from "./remembered.ts";

function request(id: string, n: number): Remembered {
  const hex = (n + 1).toString(16).padStart(16, "0");
  return {
    id,
    keyHash: hashText(`${id}\n${n}`),
    traceId: hex + hex,
    rootSpanId: hex,
    prefillSpanId: n % 2 ? hex : "",
    decodeSpanId: "",
    startUs: n * 1000,
    endUs: n * 1000 + 500,
  };
}

/** All that it says, as a plain object. */
function read(one: Remembered): Remembered {
  const { id, keyHash, traceId, rootSpanId, prefillSpanId, decodeSpanId, startUs, endUs } = one;
  return { id, keyHash, traceId, rootSpanId, prefillSpanId, decodeSpanId, startUs, endUs };
}

describe("RememberedRequests", () => {
  it("byId gives a request that says the same after others have taken its place, once it was told to keep it", () => {
    const ring = new RememberedRequests(1);
    ring.add(request("a", 1));
    const [kept] = ring.byId("a");
    kept?.keep?.();
    ring.add(request("b", 2));
    expect(read(kept as Remembered)).toEqual(request("a", 1));
  });

  it("finds what a plain list would, at any size and after any forgetting", () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ add: fc.constantFrom("a", "b", "B", "0".repeat(36), "\xff") }),
        fc.record({ before: fc.nat(40) }),
      ),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), steps, (capacity, list) => {
        const ring = new RememberedRequests(capacity);
        let model: Remembered[] = [];
        list.forEach((step, n) => {
          if ("add" in step) {
            ring.add(request(step.add, n));
            model = [...model, request(step.add, n)].slice(-capacity);
          } else {
            ring.forgetBefore(step.before * 1000);
            const first = model.findIndex(({ startUs }) => startUs >= step.before * 1000);
            model = first < 0 ? [] : model.slice(first);
          }
        });
        expect(ring.size).toBe(model.length);
        for (const id of ["a", "b", "B", "0".repeat(36), "\xff"]) {
          expect(ring.byId(id).map(read)).toEqual(model.filter((one) => one.id === id).reverse());
          expect(ring.hasId(id)).toBe(model.some((one) => one.id.toLowerCase() === id.toLowerCase()));
        }
        for (const one of model) expect(ring.hasKey(one.keyHash)).toBe(true);
        expect(ring.hasKey(hashText("nobody"))).toBe(false);
      }),
    );
  });

  it("finds all of many thousands when it has grown several times", () => {
    const ring = new RememberedRequests(20_000);
    for (let n = 0; n < 30_000; n++) ring.add(request(`id-${n}`, n));
    expect(ring.size).toBe(20_000);
    for (let n = 0; n < 30_000; n += 97) expect(ring.byId(`id-${n}`)).toHaveLength(n < 10_000 ? 0 : 1);
  });
});

describe("homeOf", () => {
  it("is the root where the role had no state", () => {
    expect(homeOf(request("a", 1), "prefill")).toBe(request("a", 1).prefillSpanId);
    expect(homeOf(request("a", 2), "prefill")).toBe(request("a", 2).rootSpanId);
    expect(homeOf(request("a", 1), undefined)).toBe(request("a", 1).rootSpanId);
  });
});
