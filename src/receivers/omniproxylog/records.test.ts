import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readRecords } from "../../../test/kit/log-records.ts";
import { cutLastLines, cutLines } from "./lines.ts";
import { instanceId, RecordEncoder } from "./records.ts";

const encoder = new RecordEncoder({
  path: "/var/log/omni/nginx_error.log",
  host: "node-7",
  format: "error_log",
  timezone: "Asia/Shanghai",
});
const limits = { lineBytes: 1 << 20, lines: 10_000 };

function encode(content: Buffer | string, over: { position?: number; isContinued?: boolean; lineBytes?: number } = {}) {
  const bytes = Buffer.from(content);
  const { position = 0, isContinued = false, lineBytes = limits.lineBytes } = over;
  const lines = cutLines(bytes, 0, { ...limits, lineBytes });
  const batch = { bytes, lines, position, isContinued, observedUnixMs: 1_795_321_800_123 };
  return readRecords({ signal: "logs", bytes: encoder.encode(batch), items: lines.count });
}

describe("RecordEncoder", () => {
  it("writes what protobufjs reads with proto/ as one record a line", () => {
    const [first, second, ...rest] = encode("one\ntwo\n", { position: 1_000_000_000_000 });
    expect(rest).toEqual([]);
    expect(first).toEqual({
      body: Buffer.from("one"),
      kind: "string",
      attributes: {
        "log.file.name": "nginx_error.log",
        "log.file.path": "/var/log/omni/nginx_error.log",
        "log.file.position": 1_000_000_000_000,
      },
      resource: {
        "host.name": "node-7",
        "service.instance.id": instanceId("node-7", "/var/log/omni/nginx_error.log"),
        "omni.log.format": "error_log",
        "omni.log.timezone": "Asia/Shanghai",
      },
      timeUnixNano: 0n,
      observedUnixNano: 1_795_321_800_123_000_000n,
    });
    expect(second?.body.toString()).toBe("two");
    expect(second?.attributes["log.file.position"]).toBe(1_000_000_000_004);
  });

  it("keeps NUL bytes, carriage returns and empty lines", () => {
    const records = encode("Free Req:1, at:\0 end\n\nx\r\n");
    expect(records.map(({ body }) => body.toString())).toEqual(["Free Req:1, at:\0 end", "", "x\r"]);
    expect(records.map(({ kind }) => kind)).toEqual(["string", "string", "string"]);
  });

  it("gives a line that is not UTF-8 as bytes and its neighbours as strings", () => {
    const broken = Buffer.from([0x69, 0x64, 0x2d, 0xc3, 0x28]);
    const records = encode(Buffer.concat([Buffer.from("ü中\n"), broken, Buffer.from("\nafter\n")]));
    expect(records.map(({ kind }) => kind)).toEqual(["string", "bytes", "string"]);
    expect(records.map(({ body }) => body)).toEqual([Buffer.from("ü中"), broken, Buffer.from("after")]);
  });

  it("marks what is left of a cut line, and only that", () => {
    const marks = (records: ReturnType<typeof encode>) =>
      records.map(({ body, attributes }) => [body.toString(), attributes["omni.log.continued"] === true]);
    expect(marks(encode("abcdefgh\nij\n\nk\n", { lineBytes: 3 }))).toEqual([
      ["abc", false],
      ["def", true],
      ["gh", true],
      ["ij", false],
      ["", false],
      ["k", false],
    ]);
    expect(marks(encode("rest\nnext\n", { isContinued: true }))).toEqual([
      ["rest", true],
      ["next", false],
    ]);
  });

  it("encodes an unfinished last line like the others", () => {
    const bytes = Buffer.from("whole\nhalf");
    const lines = cutLastLines(bytes, 0, limits);
    const encoded = encoder.encode({ bytes, lines, position: 0, isContinued: false, observedUnixMs: 0 });
    const records = readRecords({ signal: "logs", bytes: encoded, items: 2 });
    expect(records.map(({ body }) => body.toString())).toEqual(["whole", "half"]);
  });

  it("gives back the bytes of any lines at any position", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 20 }),
        fc.maxSafeNat(),
        (bodies, position) => {
          const lines = bodies.map((body) => Buffer.from(body.filter((byte) => byte !== 10)));
          const content = Buffer.concat(lines.flatMap((line) => [line, Buffer.of(10)]));
          const at = Math.max(0, position - content.length);
          const records = encode(content, { position: at });
          expect(records.map(({ body }) => body)).toEqual(lines);
          let expected = at;
          for (const [i, line] of lines.entries()) {
            expect(records[i]?.attributes["log.file.position"]).toBe(expected);
            expected += line.length + 1;
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("instanceId", () => {
  it("is a version 5 UUID that host and path alone decide", () => {
    const id = instanceId("node-7", "/a.log");
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(instanceId("node-7", "/a.log")).toBe(id);
    expect(new Set([id, instanceId("node-8", "/a.log"), instanceId("node-7", "/b.log")]).size).toBe(3);
  });
});
