import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeTraces } from "../../src/pdata/decode.ts";
import { encodeTraces } from "../../src/pdata/encode.ts";
import type { ResourceSpans } from "../../src/pdata/model.ts";
import type { OtlpClient } from "../kit/otlp-client.ts";

const SPANS_A_REQUEST = 100;
/** Requests that wait for their answer at once; more would only hide that the pace is not kept. */
const MOST_UNDER_WAY = 50;

/** What a paced load came to. */
export interface Pace {
  readonly acknowledged: number;
  readonly seconds: number;
}

const [captured] = decodeTraces(readFileSync(new URL("../../demo/capture/otlp/0012.pb", import.meta.url)));

/** vLLM's captured span a hundred times, each of a request of its own that ends now. */
function request(): Buffer {
  const [scope] = captured?.scopeSpans ?? [];
  const [span] = scope?.spans ?? [];
  if (!captured || !scope || !span) throw new Error("the capture has no span");
  const endUnixNano = BigInt(Date.now()) * 1_000_000n;
  const spans = Array.from({ length: SPANS_A_REQUEST }, () => ({
    ...span,
    traceId: randomBytes(16).toString("hex"),
    spanId: randomBytes(8).toString("hex"),
    startUnixNano: endUnixNano - 100_000_000n,
    endUnixNano,
    attributes: span.attributes.map(({ key, value }) => ({
      key,
      value: key === "gen_ai.request.id" ? `cmpl-${randomUUID()}-0` : value,
    })),
  }));
  const resources: ResourceSpans[] = [{ ...captured, scopeSpans: [{ ...scope, spans }] }];
  return Buffer.from(encodeTraces(resources));
}

/** Sends at `rate` spans a second for so long; a stall is caught up with. @throws when a request is refused */
export async function sendAtPace(client: OtlpClient, rate: number, seconds: number): Promise<Pace> {
  const began = performance.now();
  const wanted = Math.ceil((rate * seconds) / SPANS_A_REQUEST);
  const underWay = new Set<Promise<unknown>>();
  for (let sent = 0; sent < wanted; sent++) {
    const dueMs = (sent * SPANS_A_REQUEST * 1000) / rate - (performance.now() - began);
    if (dueMs > 0) await sleep(dueMs);
    if (underWay.size >= MOST_UNDER_WAY) await Promise.race(underWay);
    const answer: Promise<unknown> = client.send("traces", request()).finally(() => underWay.delete(answer));
    underWay.add(answer);
  }
  await Promise.all(underWay);
  return { acknowledged: wanted * SPANS_A_REQUEST, seconds: (performance.now() - began) / 1000 };
}
