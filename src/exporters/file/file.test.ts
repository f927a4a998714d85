import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/kit/clock.ts";
import { TestHost, testSettings } from "../../../test/kit/settings.ts";
import { jsonToProto } from "../../pdata/json.ts";
import { WireWriter } from "../../pdata/wire.ts";
import type { AnyBatch } from "../../sending/sender.ts";
import type { Clock } from "../../telemetry/clock.ts";
import { fileExporterFactory } from "./factory.ts";

const batch = (name: string): AnyBatch => ({
  signal: "traces",
  bytes: new WireWriter()
    .message(1, (resource) => resource.message(2, (scope) => scope.message(2, (span) => span.string(5, name))))
    .finish(),
  items: 1,
});
const line = (name: string): string =>
  `${JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [{ name }] }] }] })}\n`;
const patient = new AbortController().signal;

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "file-exporter-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function started(section: object, clock: Clock = new FakeClock()) {
  const host = new TestHost();
  const exporter = fileExporterFactory
    .configure({ path: join(folder, "out.json"), ...section })
    .create(testSettings("file", { clock }));
  await exporter.start(host);
  return {
    host,
    write: async (name: string) => exporter.consumers.traces?.consume(batch(name) as never, {}),
    consume: async (given: AnyBatch) => exporter.consumers[given.signal]?.consume(given as never, {}),
    stop: () => exporter.shutdown(patient),
  };
}

describe("fileSchema", () => {
  it("has the defaults of the Collector's file exporter", () => {
    expect(fileExporterFactory.configure({ path: "a", rotation: null }).effective).toEqual({
      path: "a",
      append: false,
      create_directory: false,
      format: "json",
      flush_interval: "1s",
      rotation: { max_megabytes: 100, max_days: 0, max_backups: 100, localtime: false },
    });
  });

  it.each([
    [{}, "path: is required"],
    [{ path: "" }, "path: path must be non-empty"],
    [
      { path: "a", append: true, rotation: {} },
      "append: append and rotation enabled at the same time is not supported",
    ],
    [{ path: "a", flush_interval: 0 }, "flush_interval: flush_interval must be larger than zero"],
    [{ path: "a", format: "xml" }, 'format: expected one of "json", "proto"'],
  ])("refuses %j", (section, message) => {
    expect(() => fileExporterFactory.configure(section)).toThrow(message);
  });
});

describe("fileExporterFactory", () => {
  it("has a request a line in the file when consume resolves", async () => {
    const file = await started({});
    await file.write("one");
    expect(await readFile(join(folder, "out.json"), "utf8")).toBe(line("one"));
    await Promise.all(["two", "three", "four"].map((name) => file.write(name)));
    expect(await readFile(join(folder, "out.json"), "utf8")).toBe(["one", "two", "three", "four"].map(line).join(""));
    await file.stop();
  });

  it("writes lines that give the request back", async () => {
    const file = await started({});
    await file.write("again");
    await file.stop();
    const text = await readFile(join(folder, "out.json"));
    expect(jsonToProto("traces", text)).toEqual(Buffer.from(batch("again").bytes));
  });

  it("writes length and request when format is proto", async () => {
    const file = await started({ format: "proto" });
    await file.write("one");
    await file.write("two");
    await file.stop();
    const records = ["one", "two"].map((name) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(batch(name).bytes.length);
      return Buffer.concat([length, batch(name).bytes]);
    });
    expect(await readFile(join(folder, "out.json"))).toEqual(Buffer.concat(records));
  });

  it.each([
    [{}, line("new")],
    [{ append: true }, `${line("old")}${line("new")}`],
    [{ rotation: {} }, `${line("old")}${line("new")}`],
  ])("with %j treats a file that exists as the Collector does", async (section, content) => {
    await writeFile(join(folder, "out.json"), line("old"));
    const file = await started(section);
    await file.write("new");
    await file.stop();
    expect(await readFile(join(folder, "out.json"), "utf8")).toBe(content);
  });

  it("fails to start when the folder is missing, and says what to do", async () => {
    const path = join(folder, "missing", "out.json");
    await expect(started({ path })).rejects.toThrow(
      `the folder ${join(folder, "missing")} does not exist; make it, or set create_directory: true`,
    );
    const file = await started({ path, create_directory: true });
    await file.write("one");
    await file.stop();
    expect(existsSync(path)).toBe(true);
  });

  it("refuses what it cannot write for now, tells the service, and goes on", async () => {
    const path = join(folder, "full");
    await symlink("/dev/full", path);
    const file = await started({ path });
    await expect(file.write("one")).rejects.toMatchObject({
      disposition: "retryable",
      message: `write ${path}: ENOSPC: no space left on device, write`,
    });
    await expect(file.write("two")).rejects.toMatchObject({ disposition: "retryable" });
    expect(file.host.statuses).toMatchObject([{ level: "recoverable" }]);
    await file.stop();
  });

  it("refuses for good what is no OTLP", async () => {
    const file = await started({});
    const broken: AnyBatch = { signal: "traces", bytes: Buffer.from([0x0a, 9]), items: 1 };
    await expect(file.consume(broken)).rejects.toMatchObject({ disposition: "permanent" });
    await file.stop();
    expect((await stat(join(folder, "out.json"))).size).toBe(0);
  });

  it("rotates before a file grows beyond max_megabytes and keeps max_backups, losing no line it keeps", async () => {
    const clock = new FakeClock();
    const file = await started({ rotation: { max_megabytes: 1, max_backups: 2 } }, clock);
    const name = "x".repeat(400_000);
    for (let at = 0; at < 9; at++) {
      await file.write(`${at}${name}`);
      await clock.advance(1000);
    }
    await file.stop();
    const names = (await readdir(folder)).sort();
    expect(names).toEqual([
      expect.stringMatching(/^out-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.json$/),
      expect.stringMatching(/^out-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.json$/),
      "out.json",
    ]);
    const contents = await Promise.all(names.map((entry) => readFile(join(folder, entry), "utf8")));
    const numbers = contents.map((text) => text.match(/(?<="name":")\d/g)?.join(""));
    expect(numbers).toEqual(["45", "67", "8"]);
  });

  it("goes on with a new file when the old one was taken away", async () => {
    const file = await started({ rotation: { max_megabytes: 1 } });
    const name = "x".repeat(700_000);
    await file.write(name);
    await rm(join(folder, "out.json"));
    await file.write(name);
    expect(await readFile(join(folder, "out.json"), "utf8")).toBe(line(name));
    await file.stop();
  });

  it("refuses for now what it cannot rotate for, until it can", async () => {
    const path = join(folder, "sub", "out.json");
    const file = await started({ path, create_directory: true, rotation: { max_megabytes: 1 } });
    const name = "x".repeat(700_000);
    await file.write(name);
    await rm(join(folder, "sub"), { recursive: true });
    await expect(file.write(name)).rejects.toMatchObject({ disposition: "retryable" });
    await mkdir(join(folder, "sub"));
    await file.write(name);
    expect(await readFile(path, "utf8")).toBe(line(name));
    expect(file.host.statuses.map(({ level }) => level)).toEqual(["recoverable", "ok"]);
    await file.stop();
  });

  it("forces data to the disk flush_interval after it was written, once", async () => {
    const clock = new FakeClock();
    const file = await started({ flush_interval: "5s" }, clock);
    await file.write("one");
    await file.write("two");
    expect(clock.pending).toBe(1);
    await clock.advance(5000);
    expect(clock.pending).toBe(0);
    await file.stop();
  });
});
