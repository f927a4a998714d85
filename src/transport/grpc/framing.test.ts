import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EMPTY_MESSAGE, frame, MessageReader } from "./framing.ts";
import { GrpcError } from "./status.ts";

const LIMIT = 1000;

/** Feeds `bytes` cut at `cuts`; the message that comes out, or undefined. */
function feed(reader: MessageReader, bytes: Buffer, cuts: readonly number[]): Uint8Array | undefined {
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const to of [...at, bytes.length]) {
    if (to === from) continue;
    const message = reader.push(bytes.subarray(from, to));
    from = to;
    if (message) return message;
  }
  return undefined;
}

const thrown = (act: () => unknown): GrpcError => {
  try {
    act();
  } catch (error) {
    if (error instanceof GrpcError) return error;
  }
  throw new Error("no GrpcError");
};

describe("MessageReader", () => {
  it("gives the message however its bytes are cut, and ignores what follows", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: LIMIT }),
        fc.array(fc.nat(), { maxLength: 6 }),
        fc.uint8Array({ maxLength: 20 }),
        (message, cuts, tail) => {
          const reader = new MessageReader(LIMIT);
          const bytes = Buffer.concat([frame(message), tail]);
          const got = feed(reader, bytes, cuts);
          expect(Buffer.from(got as Uint8Array).equals(Buffer.from(message))).toBe(true);
          expect(reader.compressed).toBe(false);
        },
      ),
    );
  });

  it("hands on a message that comes in one chunk without copying it", () => {
    const chunk = frame(Buffer.from("span"));
    expect(new MessageReader(LIMIT).push(chunk)?.buffer).toBe(chunk.buffer);
  });

  it("refuses a message larger than the limit on its prefix, however that is cut", () => {
    const prefix = Buffer.from([0, 0, 0, 0x03, 0xe9]);
    for (let cut = 0; cut < 5; cut++) {
      const error = thrown(() => feed(new MessageReader(LIMIT), prefix, [cut]));
      expect(error.code).toBe(8);
      expect(error.message).toBe("grpc: received message larger than max (1001 vs. 1000)");
    }
    expect(thrown(() => new MessageReader(LIMIT).push(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]))).message).toContain(
      "(4294967295 vs. 1000)",
    );
  });

  it("refuses a prefix whose flag is neither 0 nor 1", () => {
    const error = thrown(() => new MessageReader(LIMIT).push(Buffer.from([2, 0, 0, 0, 0])));
    expect(error.code).toBe(13);
    expect(error.message).toBe("grpc: received unexpected payload format 2");
  });

  it("says what is missing when the request ends early", () => {
    const reader = new MessageReader(LIMIT);
    reader.push(Buffer.from([0, 0]));
    expect(reader.ended().message).toContain("2 of 5 prefix bytes");
    reader.push(Buffer.from([0, 0, 9, 1]));
    expect(reader.ended().message).toContain("6 of 14 bytes");
    expect(reader.held).toBe(6);
  });
});

describe("frame", () => {
  it("gives the shared empty message for no bytes", () => {
    expect(frame(new Uint8Array())).toBe(EMPTY_MESSAGE);
    expect([...EMPTY_MESSAGE]).toEqual([0, 0, 0, 0, 0]);
  });
});
