import { mkdtempSync, rmSync } from "node:fs";
import { appendFile, link, mkdir, readFile, rename, symlink, truncate, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { decodeSection } from "../../src/config/schema.ts";
import type { Consumer } from "../../src/kernel/api.ts";
import { schema } from "../../src/receivers/omniproxylog/config.ts";
import { type FileAccess, nodeFiles } from "../../src/receivers/omniproxylog/files.ts";
import type { OffsetStore } from "../../src/receivers/omniproxylog/offsets.ts";
import { OmniProxyLogReceiver } from "../../src/receivers/omniproxylog/receiver.ts";
import type { Logger } from "../../src/telemetry/logger.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { FakeClock } from "./clock.ts";
import { type ReceivedRecord, readRecords } from "./log-records.ts";
import { TestHost, testSettings } from "./settings.ts";
import { RecordingSink } from "./sink.ts";

/** A temporary folder with log files, and what writers and logrotate do to them. `remove` it at the end. */
export class LogFolder {
  readonly path: string;

  /** @param path for a folder that has to have the same name again */
  constructor(path: string = mkdtempSync(join(tmpdir(), "omnishim-logs-"))) {
    this.path = path;
  }

  at(name: string): string {
    return join(this.path, name);
  }
  async write(name: string, content: string | Buffer): Promise<void> {
    await mkdir(dirname(this.at(name)), { recursive: true });
    await writeFile(this.at(name), content);
  }
  append(name: string, content: string | Buffer): Promise<void> {
    return appendFile(this.at(name), content);
  }
  rename(from: string, to: string): Promise<void> {
    return rename(this.at(from), this.at(to));
  }
  /** What `logrotate` does with `copytruncate`. */
  async copyTruncate(from: string, to: string): Promise<void> {
    await writeFile(this.at(to), await readFile(this.at(from)));
    await truncate(this.at(from), 0);
  }
  delete(name: string): Promise<void> {
    return unlink(this.at(name));
  }
  symlink(target: string, name: string): Promise<void> {
    return symlink(target, this.at(name));
  }
  hardLink(from: string, name: string): Promise<void> {
    return link(this.at(from), this.at(name));
  }
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** The machine's files, where single calls can be made to fail. */
export class FaultyFiles implements FileAccess {
  /** Called before each call with its name and path; a throw is that call's failure. */
  fault: ((call: "facts" | "list" | "open" | "read", path: string) => void) | undefined;
  /** Awaited before each call, to change files under the reader. */
  before: ((call: "facts" | "list" | "open" | "read", path: string) => Promise<void>) | undefined;
  /** Handles that were opened and not closed. */
  handles = 0;

  async facts(path: string): ReturnType<FileAccess["facts"]> {
    await this.before?.("facts", path);
    this.fault?.("facts", path);
    return nodeFiles.facts(path);
  }
  async list(folder: string): ReturnType<FileAccess["list"]> {
    await this.before?.("list", folder);
    this.fault?.("list", folder);
    return nodeFiles.list(folder);
  }
  async open(path: string): ReturnType<FileAccess["open"]> {
    await this.before?.("open", path);
    this.fault?.("open", path);
    const file = await nodeFiles.open(path);
    if (!file) return undefined;
    this.handles++;
    return {
      facts: () => file.facts(),
      read: async (into, at, length, position) => {
        await this.before?.("read", path);
        this.fault?.("read", path);
        return file.read(into, at, length, position);
      },
      close: async () => {
        this.handles--;
        await file.close();
      },
    };
  }
}

/** An error of the file system with this code. */
export function fileError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: made by a test`), { code });
}

/** A receiver over real files and a fake clock, with a recording sink behind it; rounds run when `poll` is called. */
export class TestTail {
  readonly clock = new FakeClock();
  readonly sink = new RecordingSink<"logs">();
  readonly files = new FaultyFiles();
  readonly host = new TestHost();
  readonly metrics = createMetrics();
  readonly said: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[] = [];
  readonly receiver: OmniProxyLogReceiver;

  /** @param next takes the batches in place of the sink */
  constructor(section: Record<string, unknown>, offsets?: OffsetStore, next?: Consumer<"logs">) {
    const { config } = decodeSection(schema, section);
    const say =
      (level: string) =>
      (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
        this.said.push({ level, message, fields });
      };
    const logger: Logger = {
      debug: say("debug"),
      info: say("info"),
      warn: say("warn"),
      error: say("error"),
      with: () => logger,
    };
    this.receiver = new OmniProxyLogReceiver(
      config,
      testSettings("omni_proxy_log", { clock: this.clock, metrics: this.metrics, logger }),
      next ?? this.sink,
      { files: this.files, host: "node-7", ...(offsets ? { offsets } : {}) },
    );
  }

  start(): Promise<void> {
    return this.receiver.start(this.host);
  }
  poll(): Promise<void> {
    return this.receiver.poll();
  }
  /** Lets the quiet time of rotated files pass and ends them. */
  async pollUntilRetired(): Promise<void> {
    await this.poll();
    await this.clock.advance(6000);
    await this.poll();
    await this.poll();
  }
  stop(): Promise<void> {
    return this.receiver.shutdown(new AbortController().signal);
  }

  /** Everything received so far. */
  get records(): ReceivedRecord[] {
    return this.sink.batches.flatMap((batch) => readRecords(batch));
  }
  /** The bodies as text, one character a byte. */
  get lines(): string[] {
    return this.records.map((record) => record.body.toString("latin1"));
  }
  warnings(): string[] {
    return this.said.filter(({ level }) => level === "warn").map(({ message }) => message);
  }
  /** The value of a metric, by name and labels as in the text format. */
  async metric(name: string): Promise<number | undefined> {
    const line = (await this.metrics.text()).split("\n").find((text) => text.startsWith(name));
    return line === undefined ? undefined : Number(line.split(" ").at(-1));
  }
}

/** A folder with receivers over it. Call `end` after each test. */
export class LogBench {
  readonly folder = new LogFolder();
  readonly #tails: TestTail[] = [];

  /** A receiver for these names or patterns in the folder; not yet started. */
  tailOf(names: string | string[], section: Record<string, unknown> = {}, offsets?: OffsetStore): TestTail {
    const tail = new TestTail({ include: [names].flat().map((name) => this.folder.at(name)), ...section }, offsets);
    this.#tails.push(tail);
    return tail;
  }

  /** The same, started. */
  async started(names: string | string[], section: Record<string, unknown> = {}): Promise<TestTail> {
    const tail = this.tailOf(names, section);
    await tail.start();
    return tail;
  }

  async end(): Promise<void> {
    await Promise.all(this.#tails.map((tail) => tail.stop()));
    this.folder.remove();
  }
}
