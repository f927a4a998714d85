/** The log receiver over real files: whatever happens to a file, its lines come out once and in order. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linesOf, proxyCaptureNames, readCapture } from "../kit/captures.ts";
import { LogFolder, TestTail } from "../kit/log-tail.ts";

/** What a writer, logrotate and the receiver's timer do, in any order. */
type Step =
  | { readonly kind: "append"; readonly bytes: number }
  | { readonly kind: "poll" }
  /** Renamed, with a new file in its place; a round follows, for a file that comes and goes between two is seen by nobody. */
  | { readonly kind: "rename" }
  /** Emptied in place between two rounds; what comes between the copy and the truncation is lost to every reader. */
  | { readonly kind: "truncate" };

function steps(mostBytes: number): fc.Arbitrary<readonly Step[]> {
  const append = fc.record({ kind: fc.constant("append" as const), bytes: fc.integer({ min: 1, max: mostBytes }) });
  const kind = fc.constantFrom(
    "poll" as const,
    "poll" as const,
    "poll" as const,
    "rename" as const,
    "truncate" as const,
  );
  return fc.array(
    fc.oneof(
      append,
      kind.map((one): Step => ({ kind: one })),
    ),
    { maxLength: 40 },
  );
}

/** What should come out and what did. */
interface Outcome {
  /** The lines that were finished, in order. */
  readonly whole: readonly string[];
  /** The unfinished last lines of renamed files, which come when the file is given up. */
  readonly unfinished: readonly string[];
  readonly received: readonly string[];
}

/** Writes `content` as `plan` says, the rest of it at the end, under a running receiver. */
async function play(
  content: Buffer,
  plan: readonly Step[],
  name: string,
  section: Record<string, unknown> = {},
): Promise<Outcome> {
  const folder = new LogFolder();
  const tail = new TestTail({ include: [folder.at(name)], ...section });
  const whole: string[] = [];
  const unfinished: string[] = [];
  let file = Buffer.alloc(0);
  let written = 0;
  let rotations = 0;

  const append = async (bytes: number): Promise<void> => {
    const piece = content.subarray(written, written + bytes);
    written += piece.length;
    file = Buffer.concat([file, piece]);
    await folder.append("error.log", piece);
  };
  const endFile = (): string[] => {
    const lines = linesOf(file).map((line) => line.toString("latin1"));
    const rest = lines.at(-1)?.endsWith("\n") === false ? [lines.pop() as string] : [];
    whole.push(...lines.map((line) => line.slice(0, -1)));
    file = Buffer.alloc(0);
    return rest;
  };

  try {
    await folder.write("error.log", "");
    await tail.start();
    for (const step of plan) {
      if (step.kind === "append") await append(step.bytes);
      else {
        if (step.kind === "rename") {
          await folder.rename("error.log", `error.log.${++rotations}`);
          await folder.write("error.log", "");
          unfinished.push(...endFile());
        } else if (step.kind === "truncate") {
          await tail.poll();
          await folder.write("error.log", "");
          endFile();
        }
        await tail.poll();
      }
    }
    await append(content.length);
    endFile();
    await tail.pollUntilRetired();
    return { whole, unfinished, received: tail.lines };
  } finally {
    await tail.stop();
    folder.remove();
  }
}

/** The received lines are the whole ones in their order; the unfinished ones stand anywhere between. */
function expectAllOnce({ whole, unfinished, received }: Outcome): void {
  const late = [...unfinished];
  let at = 0;
  for (const line of received) {
    if (line === whole[at]) at++;
    else {
      const found = late.indexOf(line);
      if (found < 0) expect.fail(`got ${JSON.stringify(line)} where ${JSON.stringify(whole[at])} should come`);
      late.splice(found, 1);
    }
  }
  expect({ missing: whole.slice(at), late }).toEqual({ missing: [], late: [] });
}

describe("omni_proxy_log over changing files", () => {
  it("gives the lines of a real error.log once and in order at any chunking, with rotation in between", async () => {
    const logs = proxyCaptureNames().map((name) => linesOf(readCapture(name).errorLog));
    const part = fc
      .tuple(fc.constantFrom(...logs), fc.integer({ min: 0, max: 1000 }))
      .map(([lines, from]) => Buffer.concat(lines.slice(from, from + 300)));
    await fc.assert(
      fc.asyncProperty(part, steps(4000), async (content, plan) => {
        expectAllOnce(await play(content, plan, "error.log"));
      }),
      { numRuns: 40 },
    );
  });

  it("gives the lines of any bytes, in small batches, also when the pattern takes in the rotated names", async () => {
    const byte = fc.oneof(fc.constant(10), { weight: 5, arbitrary: fc.integer({ min: 0, max: 255 }) });
    // Numbered, so that a line that comes twice or too late is told from its neighbours.
    const content = fc
      .array(byte, { maxLength: 400 })
      .map((bytes) => linesOf(Buffer.from(bytes)).flatMap((line, number) => [Buffer.from(`#${number} `), line]))
      .map((pieces) => Buffer.concat(pieces));
    await fc.assert(
      fc.asyncProperty(content, steps(60), fc.constantFrom("error.log", "error.log*"), async (bytes, plan, name) => {
        const section = { max_batch_lines: 3, max_batch_bytes: 32, fingerprint_size: 16 };
        expectAllOnce(await play(bytes, plan, name, section));
      }),
      { numRuns: 60 },
    );
  });
});
