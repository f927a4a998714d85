import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestHost, testSettings } from "../../../test/kit/settings.ts";
import type { StorageClient } from "../../kernel/storage.ts";
import { storageOf } from "../../kernel/storage.ts";
import type { Logger } from "../../telemetry/logger.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import { fileStorageExtensionFactory } from "./factory.ts";
import type { FileStorage } from "./file-storage.ts";

let folder: string;
const opened: FileStorage[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "file-storage-"));
});
afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.shutdown(new AbortController().signal);
  await rm(folder, { recursive: true, force: true });
});

function make(over: object = {}, settings = testSettings("file_storage")): FileStorage {
  const storage = fileStorageExtensionFactory
    .configure({ directory: folder, timeout: 0, ...over })
    .create(settings) as FileStorage;
  opened.push(storage);
  return storage;
}

async function started(over: object = {}): Promise<FileStorage> {
  const storage = make(over);
  await storage.start(new TestHost());
  return storage;
}

const never = new AbortController().signal;
const client = (over: Partial<StorageClient> = {}): StorageClient => ({
  kind: "exporter",
  id: { type: "otlp_grpc", name: "" },
  purpose: "traces",
  ...over,
});

/** Runs a script of its own that opens the directory, and gives what it prints first. */
function otherProcess(script: string): Promise<{ line: string; kill(signal: NodeJS.Signals): Promise<void> }> {
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.stdout.setEncoding("utf8").once("data", (line: string) =>
      resolve({
        line: line.trim(),
        kill: (signal) =>
          new Promise((done) => {
            child.once("exit", () => done());
            child.kill(signal);
          }),
      }),
    );
  });
}

describe("file_storage", () => {
  it("keeps logs and maps of each client over restarts", async () => {
    const first = await started();
    const log = await first.openLog(client());
    await log.append([Buffer.from("one"), Buffer.from("two")], 7);
    const other = await first.openLog(client({ purpose: "logs" }));
    await other.append([Buffer.from("other")], 1);
    const map = await first.openMap(client({ kind: "receiver" }));
    await map.set("key", Buffer.from("value"));
    await first.shutdown(never);

    const second = await started();
    const again = await second.openLog(client());
    expect(again.left.map(({ tag, size }) => [tag, size])).toEqual([[7, 6]]);
    expect(String(await again.read(again.left[0] as (typeof again.left)[number]))).toBe("onetwo");
    expect(String((await second.openMap(client({ kind: "receiver" }))).entries.get("key"))).toBe("value");
    expect((await second.openLog(client({ purpose: "metrics" }))).left).toEqual([]);
  });

  it.each([
    [{ id: { type: "a", name: "b.c/d" } }, "exporter.a.b%2Ec%2Fd.traces"],
    [{ id: { type: "a", name: ".." } }, "exporter.a.%2E%2E.traces"],
    [{ id: { type: "a", name: "" }, purpose: "b" }, "exporter.a.b"],
    [{ id: { type: "a", name: "x".repeat(1000) } }, expect.stringMatching(/^exporter\.[0-9a-f]{64}$/)],
  ])("gives client %j a folder of its own", async (over, name) => {
    await (await started()).openLog(client(over));
    expect((await readdir(folder)).filter((entry) => entry !== "lock")).toEqual([name]);
  });

  it("openLog refuses a second user of the same place", async () => {
    const storage = await started();
    await storage.openLog(client());
    await expect(storage.openLog(client())).rejects.toThrow("exporter.otlp_grpc.traces has its storage open already");
  });

  it("opens a place again for whoever comes after its user, and counts its bytes once", async () => {
    const metrics = createMetrics();
    const storage = make({}, testSettings("file_storage", { metrics }));
    await storage.start(new TestHost());
    const bytesKept = async (): Promise<number> =>
      Number(/^omnishim_storage_bytes(?:{.*})? (\d+)$/m.exec(await metrics.text())?.[1]);
    const first = await storage.openLog(client());
    await first.append([Buffer.from("one")], 7);
    const map = await storage.openMap(client({ purpose: "offsets" }));
    await map.set("file", Buffer.from("12"));
    const before = await bytesKept();
    await first.close();
    await map.close();
    const second = await storage.openLog(client());
    const [record] = second.left;
    expect(`${record && (await second.read(record))}`).toBe("one");
    expect((await storage.openMap(client({ purpose: "offsets" }))).entries.get("file")).toEqual(Buffer.from("12"));
    expect(before).toBeGreaterThan(0);
    expect(await bytesKept()).toBeLessThanOrEqual(before);
  });

  it("makes the directory with its permissions, and files that others cannot read", async () => {
    const directory = join(folder, "a", "b");
    const storage = await started({ directory, directory_permissions: "0700" });
    const log = await storage.openLog(client());
    await log.append([Buffer.from("secret")], 1);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    const [file] = await readdir(join(directory, "exporter.otlp_grpc.traces"));
    expect((await stat(join(directory, "exporter.otlp_grpc.traces", `${file}`))).mode & 0o777).toBe(0o600);
  });

  it("start refuses a directory that is not there when it may not make it", async () => {
    await expect(started({ directory: join(folder, "none"), create_directory: false })).rejects.toThrow(
      `directory: ${folder}/none must exist. You can enable the create_directory option to automatically create it`,
    );
  });

  it("start refuses a file in place of a directory", async () => {
    await writeFile(join(folder, "file"), "");
    await expect(started({ directory: join(folder, "file") })).rejects.toThrow(`${folder}/file is not a directory`);
    await expect(started({ directory: join(folder, "file", "deeper") })).rejects.toThrow("cannot be used (ENOTDIR");
  });

  it.skipIf(process.getuid?.() === 0)("start refuses a directory that cannot be written", async () => {
    const directory = join(folder, "locked");
    await mkdir(directory);
    await chmod(directory, 0o500);
    await expect(started({ directory })).rejects.toThrow(
      /directory: .*locked cannot be used \(EACCES.*make it writable/,
    );
  });

  it("start refuses a directory that another process has, naming it, and takes it when that one was killed", async () => {
    const holder = await otherProcess(
      `const net = require("node:net"); const server = net.createServer((s) => s.end(process.pid + "\\n"));
       server.listen(${JSON.stringify(join(folder, "lock"))}, () => console.log(process.pid));`,
    );
    await expect(started()).rejects.toThrow(
      `${folder} is in use by process ${holder.line}: every process needs a directory of its own`,
    );
    await holder.kill("SIGKILL");
    expect(await readdir(folder)).toEqual(["lock"]);
    await started();
    expect(await readdir(folder)).toEqual(["lock"]);
  });

  it("start waits up to `timeout` for the one that it replaces", async () => {
    const first = await started();
    const second = make({ timeout: "10s" });
    const starting = second.start(new TestHost());
    await first.shutdown(never);
    await starting;
  });

  it("locks a directory whose path is longer than a socket's may be", async () => {
    const directory = join(folder, "d".repeat(120));
    await started({ directory });
    await expect(started({ directory })).rejects.toThrow(`in use by process ${process.pid}`);
  });

  it("shutdown is idempotent, legal before start, and gives the directory free", async () => {
    await make().shutdown(never);
    const storage = await started();
    await storage.shutdown(never);
    await storage.shutdown(never);
    expect(await readdir(folder)).toEqual([]);
  });

  it("says that a Collector's queues are there, and leaves them alone", async () => {
    await writeFile(join(folder, "exporter_otlp__traces"), "bolt");
    const said: unknown[] = [];
    const logger: Logger = {
      debug() {},
      info() {},
      error() {},
      warn: (message, fields) => said.push([message, fields]),
      with: () => logger,
    };
    await make({}, testSettings("file_storage", { logger })).start(new TestHost());
    expect(said).toEqual([
      [
        "The directory holds queues of an OpenTelemetry Collector; they are neither read nor changed. Let the Collector send what they hold",
        { directory: folder, files: ["exporter_otlp__traces"] },
      ],
    ]);
    expect(await readdir(folder)).toContain("exporter_otlp__traces");
  });

  it("start leaves alone what is no lock of its own", async () => {
    await mkdir(join(folder, "lock"));
    await expect(started()).rejects.toThrow(`${folder}/lock is in the way`);
    expect(await readdir(folder)).toEqual(["lock"]);
  });

  it("start says what it needs where no socket can be made", async () => {
    await expect(started({ directory: "/proc/self/net", create_directory: false })).rejects.toThrow(
      /^directory: (cannot lock|\/proc\/self\/net cannot be used)/,
    );
  });
});

describe("storageOf", () => {
  it("gives the extension, or says what is wrong with it", async () => {
    const storage = make();
    const host = new TestHost({ file_storage: storage, other: { start: async () => {}, shutdown: async () => {} } });
    expect(storageOf(host, "file_storage")).toBe(storage);
    expect(() => storageOf(host, "none")).toThrow('storage client extension "none" not found');
    expect(() => storageOf(host, "other")).toThrow('requested extension "other" is not a storage extension');
  });
});

describe("schema", () => {
  it("has the Collector's defaults but for fsync, and a bound", () => {
    expect(fileStorageExtensionFactory.configure(undefined).effective).toEqual({
      directory: "/var/lib/otelcol/file_storage",
      timeout: "1s",
      fsync: true,
      create_directory: true,
      directory_permissions: "0750",
      recreate: false,
      max_size_mib: 1024,
      compaction: {
        directory: "/var/lib/otelcol/file_storage",
        on_start: false,
        on_rebound: false,
        rebound_needed_threshold_mib: 100,
        rebound_trigger_threshold_mib: 10,
        max_transaction_size: 65_536,
        check_interval: "5s",
        cleanup_on_start: false,
      },
    });
  });

  it.each([
    [{ directory_permissions: "rwx" }, "directory_permissions value must be a valid octal representation"],
    [{ directory_permissions: "7777" }, "directory_permissions contain invalid bits for file access"],
    [{ directory: "" }, "directory: directory must not be empty"],
    [{ max_size_mib: 0 }, "max_size_mib: must be at least 1, got 0"],
    [
      { compaction: { on_rebound: true, check_interval: "0s" } },
      "compaction check interval must be positive when rebound compaction is set",
    ],
    [{ compaction: { on_reboun: true } }, "did you mean `on_rebound`?"],
  ])("refuses %j", (section, message) => {
    expect(() => fileStorageExtensionFactory.configure(section)).toThrow(message);
  });
});
