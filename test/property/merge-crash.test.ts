import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planReplay, readCapture } from "../kit/captures.ts";
import { settle } from "../kit/clock.ts";
import { KeptLog } from "../kit/kept-log.ts";
import { attribute, linesOf, MergeRun, type OutSpan } from "../kit/merge-run.ts";
import { TestHost } from "../kit/settings.ts";

const STORAGE = { storage: "file_storage" };

type Step =
  | { readonly kind: "lines"; readonly lines: readonly Buffer[] }
  | { readonly kind: "spans"; readonly bytes: Buffer };

/** A capture as it happened: whole lines in many batches, and each payload when it came. */
function stepsOf(name: string): Step[] {
  let rest = Buffer.alloc(0);
  return planReplay(readCapture(name), { mix: "live", chunks: 120, seed: 3 }).flatMap((step): Step[] => {
    if (step.kind === "payload") return [{ kind: "spans", bytes: step.payload.bytes }];
    const bytes = Buffer.concat([rest, step.bytes]);
    const end = bytes.lastIndexOf(10) + 1;
    rest = bytes.subarray(end);
    return end === 0 ? [] : [{ kind: "lines", lines: linesOf(bytes.subarray(0, end)) }];
  });
}

const never = new AbortController().signal;

/** Runs all steps; `crashes` says after which the process ends, and how: every other one as by SIGTERM. */
async function runWith(steps: readonly Step[], crashes: ReadonlyMap<number, "kill" | "stop">, pauseMs: number) {
  const storage = new KeptLog();
  const host = new TestHost({ file_storage: storage });
  const outputs: OutSpan[][] = [];
  let run = await new MergeRun(STORAGE).start(host);
  /** Spans whose acknowledgement has not come: their sender sends them again. */
  let open = new Set<Buffer>();
  const send = (bytes: Buffer): void => {
    const from = open;
    from.add(bytes);
    run.spans(bytes).then(
      () => from.delete(bytes),
      () => {},
    );
  };
  for (const [index, step] of steps.entries()) {
    if (step.kind === "lines") await run.lines(step.lines);
    else send(step.bytes);
    await run.clock.advance(pauseMs);
    const crash = crashes.get(index);
    if (!crash) continue;
    if (crash === "stop") await run.connector.shutdown(never);
    await settle();
    outputs.push(run.output());
    const again = [...open];
    open = new Set();
    run = await new MergeRun(STORAGE).start(host);
    for (const bytes of again) send(bytes);
    // The last lines were read, and how far that was not written down.
    if (step.kind === "lines") await run.lines(step.lines);
  }
  await run.clock.advance(30_000);
  await run.stop();
  outputs.push(run.output());
  return { outputs, storage };
}

interface Seen {
  /** What must be equal: everything but the attributes that clocks and late spans decide, and times. */
  readonly texts: Set<string>;
  /** Durations in milliseconds. */
  readonly durations: number[];
}

const UNSURE = /^(omni\.clock\.|omni\.bottleneck|omni\.(ttft|tpot)_seconds$|gen_ai\.usage\.)/;

/** Spans by identity; one may have come several times. */
function merged(outputs: readonly (readonly OutSpan[])[]): Map<string, Seen> {
  const all = new Map<string, Seen>();
  for (const span of outputs.flat()) {
    const key = `${span.traceId}/${span.spanId}`;
    const seen = all.get(key) ?? { texts: new Set(), durations: [] };
    const attributes = span.attributes.filter(({ key }) => !UNSURE.test(key));
    seen.texts.add(
      JSON.stringify(
        [span.name, span.parentSpanId, span.kind, span.status, span.service, span.links, attributes],
        (_, value) => (typeof value === "bigint" ? `${value}n` : value),
      ),
    );
    seen.durations.push(Number(span.endUnixNano - span.startUnixNano) / 1e6);
    all.set(key, seen);
  }
  return all;
}

function usage(outputs: readonly (readonly OutSpan[])[]): Map<string, unknown> {
  return new Map(
    outputs.flat().flatMap((span) => {
      const tokens = attribute(span, "gen_ai.usage.completion_tokens");
      return span.service === "omni-proxy" && tokens !== undefined ? [[span.traceId, tokens] as const] : [];
    }),
  );
}

/**
 * @param isReleased a stop has sent ended requests before their spans came: what those tell the root, and where under it
 * they hang, may differ
 */
function expectSame(actual: Map<string, Seen>, wanted: Map<string, Seen>, isReleased: boolean): void {
  expect([...actual.keys()].filter((key) => !wanted.has(key))).toEqual([]);
  expect([...wanted.keys()].filter((key) => !actual.has(key))).toEqual([]);
  for (const [key, { texts, durations }] of actual) {
    const [text = ""] = wanted.get(key)?.texts ?? [];
    const shape = (one: string): unknown => {
      const [name, , kind, status, service] = JSON.parse(one) as unknown[];
      return isReleased ? [name, kind, status, service] : one;
    };
    for (const one of texts) expect(shape(one)).toEqual(shape(text));
    // One pair of stamps tells the clock within 6 ms (seen on captures), and a process that begins anew has fewer pairs.
    for (const duration of durations)
      expect(Math.abs(duration - (wanted.get(key)?.durations[0] ?? 0))).toBeLessThan(6.5);
  }
}

describe.each(["proxy-vllm/grpc", "proxy-vllm/grpc-trace-force-detailed"])(
  "request_merge with a storage on %s",
  (name) => {
    it("makes the same spans however often it is killed or stopped", { timeout: 240_000 }, async () => {
      const steps = stepsOf(name);
      const pauseMs = 150;
      const { outputs: reference, storage } = await runWith(steps, new Map(), pauseMs);
      // What is not needed any more was forgotten on the way.
      expect(storage.records.size).toBeLessThan(steps.length);
      const wanted = merged(reference);
      expect(wanted.size).toBeGreaterThan(500);
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.nat(steps.length - 2), fc.constantFrom("kill" as const, "stop" as const)), {
            minLength: 1,
            maxLength: 5,
          }),
          async (crashes) => {
            const { outputs } = await runWith(steps, new Map(crashes), pauseMs);
            const isReleased = crashes.some(([, how]) => how === "stop");
            expectSame(merged(outputs), wanted, isReleased);
            if (!isReleased) expect(usage(outputs)).toEqual(usage(reference));
          },
        ),
        { numRuns: 15, seed: 11 },
      );
    });
  },
);
