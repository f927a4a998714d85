import { access, constants, mkdir, stat, statfs } from "node:fs/promises";
import { resolve } from "node:path";
import type { Host, Settings } from "../../kernel/api.ts";
import { folderName } from "../../kernel/folder-name.ts";
import { formatId } from "../../kernel/id.ts";
import type { RecordLog, StateMap, StorageClient, StorageExtension } from "../../kernel/storage.ts";
import type { Timer } from "../../telemetry/clock.ts";
import { Budget } from "./budget.ts";
import type { FileStorageConfig } from "./config.ts";
import { diskFolder, type Folder } from "./files.ts";
import { type DirectoryLock, lockDirectory } from "./lock.ts";
import { SegmentLog } from "./log.ts";
import type { StorageParts } from "./parts.ts";
import { FileStateMap } from "./state-map.ts";
import { StorageTelemetry } from "./telemetry.ts";

const MIB = 1024 * 1024;
const LARGEST_SEGMENT = 16 * MIB;
const SMALLEST_SEGMENT = 64 * 1024;
/** How often it looks whether the directory is still its own, and how much fits there. */
const WATCH_MS = 10_000;

/**
 * Gives clients logs and maps in folders of its directory.
 *
 * Life: made -> start: directory made and locked -> running -> shutdown: what clients left open is closed, lock released.
 */
export class FileStorage implements StorageExtension {
  readonly #config: FileStorageConfig;
  readonly #settings: Settings;
  readonly #directory: string;
  readonly #telemetry: StorageTelemetry;
  readonly #parts: StorageParts;
  /** By name, the last one that each client opened. */
  readonly #opened = new Map<string, SegmentLog | FileStateMap>();
  #lock: DirectoryLock | undefined;
  #watch: Timer | undefined;

  constructor(config: FileStorageConfig, settings: Settings) {
    this.#config = config;
    this.#settings = settings;
    this.#directory = resolve(config.directory);
    const budget = new Budget(config.max_size_mib * MIB);
    this.#telemetry = new StorageTelemetry(settings, budget);
    this.#parts = {
      budget,
      telemetry: this.#telemetry,
      clock: settings.clock,
      fsync: config.fsync,
      get segmentBytes() {
        return Math.min(LARGEST_SEGMENT, Math.max(SMALLEST_SEGMENT, Math.floor(budget.capacity / 16)));
      },
      savers: new Set([() => void this.#measure()]),
    };
  }

  get capacityBytes(): number {
    return this.#parts.budget.capacity;
  }

  /** @throws Error that names the key of the file and what to do */
  async start(host: Host): Promise<void> {
    this.#telemetry.reportTo((status) => host.reportStatus(status));
    await this.#prepare();
    this.#lock = await lockDirectory(this.#directory, this.#config.timeout, this.#settings.clock);
    await this.#lookForCollectorFiles();
    await this.#measure();
    this.#watchLock(host);
  }

  async shutdown(_deadline: AbortSignal): Promise<void> {
    this.#watch?.cancel();
    this.#watch = undefined;
    for (const client of [...this.#opened.values()]) await client.close();
    this.#opened.clear();
    const lock = this.#lock;
    this.#lock = undefined;
    await lock?.release();
  }

  openLog(client: StorageClient): Promise<RecordLog> {
    return this.#client(client, (name, folder) => SegmentLog.open(name, folder, this.#parts));
  }

  openMap(client: StorageClient): Promise<StateMap> {
    return this.#client(client, (name, folder) => FileStateMap.open(name, folder, this.#parts));
  }

  async #client<T extends SegmentLog | FileStateMap>(
    client: StorageClient,
    open: (name: string, folder: Folder) => Promise<T>,
  ): Promise<T> {
    const name = clientName(client);
    if (!this.#lock) throw new Error(`${formatId(this.#settings.id)} is not started`);
    if (this.#opened.get(name)?.isClosed === false) throw new Error(`${name} has its storage open already`);
    const folder = await diskFolder(`${this.#directory}/${name}`, {
      permissions: Number.parseInt(this.#config.directory_permissions, 8),
    });
    const opened = await open(name, folder);
    this.#opened.set(name, opened);
    await this.#measure(); // what it found is counted as used now
    return opened;
  }

  async #prepare(): Promise<void> {
    const { create_directory, directory_permissions } = this.#config;
    const directory = this.#directory;
    const found = await stat(directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw refused(directory, error);
    });
    if (found && !found.isDirectory()) throw new Error(`directory: ${directory} is not a directory`);
    if (!found && !create_directory)
      throw new Error(
        `directory: ${directory} must exist. You can enable the create_directory option to automatically create it`,
      );
    try {
      if (!found) await mkdir(directory, { recursive: true, mode: Number.parseInt(directory_permissions, 8) });
      await access(directory, constants.W_OK | constants.X_OK | constants.R_OK);
    } catch (error) {
      throw refused(directory, error as Error);
    }
  }

  /** Where the Collector's database files are, a switch has left data behind. */
  async #lookForCollectorFiles(): Promise<void> {
    const folder = await diskFolder(this.#directory, { permissions: 0o750 });
    const files = [...(await folder.list()).keys()].filter((name) =>
      /^(receiver|processor|exporter|extension)_/.test(name),
    );
    if (files.length > 0)
      this.#telemetry.warn(
        "The directory holds queues of an OpenTelemetry Collector; they are neither read nor changed. Let the Collector send what they hold",
        { directory: this.#directory, files: files.slice(0, 10) },
      );
  }

  /** Looks how much fits on the disk. Where that cannot be known, `max_size_mib` alone counts. */
  async #measure(): Promise<void> {
    try {
      const { bavail, bsize } = await statfs(this.#directory);
      this.#parts.budget.measured(bavail * bsize);
    } catch {
      this.#parts.budget.measured(Number.POSITIVE_INFINITY);
    }
  }

  #watchLock(host: Host): void {
    this.#watch = this.#settings.clock.after(WATCH_MS, () => {
      void this.#measure();
      void this.#lock?.isHeld().then((isHeld) => {
        if (!this.#watch) return;
        if (isHeld) return this.#watchLock(host);
        const error = new Error(
          `${this.#directory}: the lock was removed or taken by another process; stopping, so that two do not write there`,
        );
        host.reportStatus({ level: "fatal", error });
      });
    });
  }
}

function refused(directory: string, error: Error): Error {
  return new Error(
    `directory: ${directory} cannot be used (${error.message}): make it writable for the user that this program runs as, or name another one`,
    { cause: error },
  );
}

/** "exporter.otlp_grpc.edge.traces": a folder name that no other client has. */
function clientName({ kind, id, purpose }: StorageClient): string {
  return folderName(kind, id.type, ...(id.name === "" ? [] : [id.name]), purpose);
}
