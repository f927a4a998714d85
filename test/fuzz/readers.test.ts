import { readFileSync } from "node:fs";
import { deflateSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, it } from "vitest";
import { factories } from "../../src/components.ts";
import { parseYaml } from "../../src/config/parse.ts";
import {
  decodeDone,
  decodeHeader,
  encodeDone,
  encodeFrame,
  encodeHeader,
  scanFrames,
} from "../../src/extensions/filestorage/frame.ts";
import { ConfigErrors } from "../../src/kernel/errors.ts";
import { makePlan } from "../../src/kernel/plan.ts";
import { parseAccessRow } from "../../src/omni/access-row.ts";
import { ACTION, ENGINE, LineParser } from "../../src/omni/line.ts";
import { decodeLogs, decodeTraces } from "../../src/pdata/decode.ts";
import { JsonError, jsonToProto, protoToJson } from "../../src/pdata/json.ts";
import { countItems } from "../../src/pdata/validate.ts";
import { WireError } from "../../src/pdata/wire.ts";
import { CorruptError, decompress, type Encoding, TooLargeError } from "../../src/transport/compression/decompress.ts";
import { frame, MessageReader } from "../../src/transport/grpc/framing.ts";
import { GrpcError } from "../../src/transport/grpc/status.ts";
import { linesOf, proxyCaptureNames, readCapture } from "../kit/captures.ts";
import { campaign, mutated } from "./campaign.ts";
import { oddSections } from "./sections.ts";

const captures = proxyCaptureNames().map((name) => readCapture(name));
const requests = captures.flatMap(({ payloads }) => payloads.map(({ bytes }) => bytes));
const smallRequests = [...requests].sort((a, b) => a.length - b.length).slice(0, 20);
const signal = fc.constantFrom("traces" as const, "metrics" as const, "logs" as const);

/** Vitest's own assertions cost more than what is tested here. */
function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`not so: ${what}`);
}

/** @throws what `work` throws when it is not one of `known`. */
function knownOnly(work: () => void, ...known: readonly (abstract new (...args: never[]) => Error)[]): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (known.some((kind) => error instanceof kind)) return false;
    throw error;
  }
}

describe("readers of what others wrote", () => {
  it("the wire readers give values or a WireError, and agree on what is good", async () => {
    await campaign("wire", fc.tuple(signal, mutated(smallRequests)), ([of, bytes]) => {
      const isGood = knownOnly(() => void countItems(of, bytes), WireError);
      if (of === "metrics") return;
      const decode = of === "traces" ? decodeTraces : decodeLogs;
      const isDecoded = knownOnly(() => void decode(bytes), WireError);
      must(isDecoded || !isGood, "what counts can be decoded");
    });
  });

  it("the JSON reader gives a request that counts, or a JsonError", async () => {
    const texts = smallRequests.slice(0, 8).map((bytes) => Buffer.from(protoToJson("traces", bytes)));
    await campaign("JSON", fc.tuple(signal, mutated(texts, 2048)), ([of, bytes]) => {
      let request: Buffer | undefined;
      knownOnly(() => {
        request = jsonToProto(of, bytes);
      }, JsonError);
      if (request) must(countItems(of, request) >= 0, "what was read counts");
    });
  });

  it("decompression gives no more than its limit, or a known error", async () => {
    const limit = 100_000;
    const path = new URL("../fixtures/compression/vectors.json", import.meta.url);
    const vectors = JSON.parse(readFileSync(path, "utf8")) as { encoding: Encoding; bytes: string }[];
    const plain = Buffer.from("a span is a span is a span ".repeat(20));
    const bodies = vectors.map(({ bytes }) => Buffer.from(bytes, "base64")).filter(({ length }) => length < 2000);
    const encodings = fc.constantFrom<Encoding>("gzip", "zlib", "zstd", "snappy", "snappy-framed", "lz4");
    const seeds = [...bodies, gzipSync(plain), deflateSync(plain)];
    await campaign("decompression", fc.tuple(encodings, mutated(seeds)), async ([encoding, bytes]) => {
      try {
        const out = decompress(encoding, bytes, limit);
        must((out instanceof Promise ? await out : out).length <= limit, "the limit holds");
      } catch (error) {
        if (!(error instanceof CorruptError || error instanceof TooLargeError)) throw error;
      }
    });
  });

  it("gRPC framing gives the message, waits, or refuses, and holds no more than a message", async () => {
    const limit = 300;
    const frames = [0, 1, 100, 299, 300, 301].map((length) => frame(Buffer.alloc(length, 7)));
    const cuts = fc.array(fc.nat(40), { maxLength: 6 });
    await campaign("gRPC framing", fc.tuple(mutated(frames), cuts), ([bytes, sizes]) => {
      const reader = new MessageReader(limit);
      let at = 0;
      knownOnly(() => {
        for (const size of [...sizes, bytes.length]) {
          const message = reader.push(bytes.subarray(at, at + size));
          at += size;
          must(reader.held <= limit + 5 + bytes.length, "no more than a message is held");
          if (!message) continue;
          must(bytes.subarray(5, 5 + message.length).equals(message), "the message is the bytes behind the prefix");
          return;
        }
        must(reader.ended() instanceof GrpcError, "an end is a known error");
      }, GrpcError);
    });
  });

  it("the log line parser stays inside its line and gives numbers", async () => {
    const lines = captures.flatMap(({ errorLog }) => linesOf(errorLog).filter((_, at) => at % 97 === 0)).slice(0, 300);
    const parser = new LineParser();
    await campaign("log lines", mutated(lines, 1024), (bytes) => {
      parser.parse(bytes);
      if (parser.kind === ACTION || parser.kind === ENGINE)
        must(parser.idStart <= parser.idEnd && parser.idEnd <= bytes.length, "the id is inside the line");
      must(Number.isFinite(parser.timeUs), "the time is a number");
    });
  });

  it("the access-log reader gives a row or nothing", async () => {
    const rows = captures.flatMap(({ accessLog }) => linesOf(accessLog)).slice(0, 200);
    await campaign("access rows", mutated(rows, 2048), (bytes) => {
      const row = parseAccessRow(bytes);
      must(row === undefined || typeof row === "object", "a row or nothing");
    });
  });

  it("the configuration loader gives a plan or problems, each with words", async () => {
    // Small files: what is read is the same, and a hundred times as many of them are.
    const files = [
      "receivers: {otlp: {protocols: {grpc: }}}\nexporters: {debug: }\nservice: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}",
      "exporters:\n  otlp:\n    endpoint: ${env:HOST:-jaeger}:4317\n    headers: {a: 'b'}\n",
      "service:\n  extensions: [health_check]\n  telemetry: {logs: {level: info}}\nextensions:\n  health_check:\n",
      "connectors: &x\n  request_merge: {wait: 1m30s}\nprocessors: {batch: {timeout: 0x10}, <<: *x}",
    ].map((text) => Buffer.from(text));
    await campaign("configuration", mutated(files, 256), (bytes) => {
      const { root, issues } = parseYaml({ name: "fuzz", text: bytes.toString("utf8") });
      if (issues.length > 0) return;
      const { plan, problems } = makePlan(root, factories);
      must((plan === undefined) === problems.length > 0, "a plan or problems");
      for (const { message } of problems) must(message !== "", "a problem has words");
    });
  });

  it("every component takes a section or says what is wrong with it", async () => {
    await campaign("sections", oddSections(), ({ factory, section }) => {
      try {
        JSON.stringify(factory.configure(section).effective);
      } catch (error) {
        if (!(error instanceof ConfigErrors)) throw error;
        must(error.issues.length > 0 && error.issues.every(({ message }) => message !== ""), "an issue has words");
      }
    });
  });

  it("queue recovery finds records inside the file, in order, and those that nobody touched", async () => {
    const salt = 77;
    const payloads = [0, 1, 30, 200].map((length) => Buffer.alloc(length, length));
    const log = Buffer.concat(payloads.flatMap((payload) => [encodeFrame(salt, [payload], 1), payload]));
    const seeds = [log, encodeHeader(), encodeDone(salt, [1, 2, 3]), Buffer.concat([log, log])];
    await campaign("queue recovery", mutated(seeds), (bytes) => {
      decodeHeader(bytes);
      for (const position of decodeDone(salt, bytes)) must(position >= 0, "a position");
      const { frames, damaged, end } = scanFrames(bytes, 0, salt);
      let at = 0;
      for (const found of frames) {
        must(found.at >= at, "records are in order");
        at = found.at + found.size;
      }
      must(at <= end && end <= bytes.length, "records are inside the file");
      for (const [from, to] of damaged) must(from < to, "a stretch");
      if (bytes.subarray(0, log.length).equals(log))
        must(frames.length >= payloads.length, "untouched records are found");
    });
  });
});
