import fc from "fast-check";

/** How many targets share the time. */
const TARGETS = 9;
const seconds = Number(process.env["FUZZ_SECONDS"] ?? "60");
const runs = Number(process.env["FUZZ_RUNS"] ?? "0");
const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 2 ** 31);

/** Processor time that one small input may take: a hundred times what the slowest takes, so that only a hang is one, and not a machine with much else to do. */
const LONGEST_MS = 2000;
/** Most that a target may hold when it is over. */
const LARGEST_GROWTH = 128 * 1024 * 1024;

/** Bytes that were something once: seeds with bytes changed, runs repeated, cut out or put in. */
export function mutated(seeds: readonly Uint8Array[], maxLength = 4096): fc.Arbitrary<Buffer> {
  const change = fc.tuple(fc.constantFrom("set", "cut", "copy", "insert"), fc.nat(), fc.nat(64), fc.nat(255));
  const some = fc.tuple(fc.constantFrom(...seeds), fc.array(change, { maxLength: 6 })).map(([start, changes]) => {
    let bytes = Buffer.from(start.subarray(0, maxLength));
    for (const [kind, where, length, value] of changes) {
      const at = where % (bytes.length + 1);
      const piece = bytes.subarray(at, at + length);
      if (kind === "set" && at < bytes.length) bytes[at] = value;
      else if (kind === "cut") bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
      else if (kind === "copy") bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
      else bytes = Buffer.concat([bytes.subarray(0, at), Buffer.alloc(length, value), bytes.subarray(at)]);
    }
    return bytes;
  });
  return fc.oneof(
    { weight: 4, arbitrary: some },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)) },
  );
}

/**
 * Feeds a target until its share of the time is over and it has had FUZZ_RUNS inputs. Prints seed and figures.
 * @param feed throws when the target did what it must not do.
 * @throws Error with the seed and the shrunk input
 */
export async function campaign<T>(
  name: string,
  inputs: fc.Arbitrary<T>,
  feed: (input: T) => void | Promise<void>,
): Promise<void> {
  globalThis.gc?.();
  const before = held();
  const began = performance.now();
  const share = (seconds * 1000) / TARGETS;
  let fed = 0;
  let slowest = 0;
  const property = fc.asyncProperty(inputs, async (input) => {
    const start = process.cpuUsage();
    const working = feed(input);
    if (working) await working;
    const { user, system } = process.cpuUsage(start);
    const took = (user + system) / 1000;
    fed++;
    slowest = Math.max(slowest, took);
    if (took > LONGEST_MS) throw new Error(`one input took ${Math.round(took)} ms`);
  });
  for (let round = 0; performance.now() - began < share || fed < runs; round++)
    await fc.assert(property, {
      seed: seed + round,
      numRuns: 1000,
      interruptAfterTimeLimit: runs > 0 ? 3_600_000 : Math.max(1, share - (performance.now() - began)),
      markInterruptAsFailure: false,
    });
  globalThis.gc?.();
  const growth = held() - before;
  process.stdout.write(
    `fuzz ${name}: ${fed} inputs in ${((performance.now() - began) / 1000).toFixed(1)} s, seed ${seed}, slowest ${slowest.toFixed(1)} ms, holds ${(growth / 1024 / 1024).toFixed(1)} MiB more\n`,
  );
  if (fed === 0) throw new Error(`${name} had no input`);
  if (growth > LARGEST_GROWTH) throw new Error(`${name} holds ${growth} bytes more than before`);
}

function held(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
