/**
 * What a storage extension gives to other components: the contract between `file_storage` and those that name it with
 * `storage:`. It stands here because a component imports no other component.
 */
import type { Component, ComponentId, Host } from "./api.ts";

/** A record that a log holds. Made by the log; clients only pass it back. */
export interface StoredRecord {
  /** The number that the client gave with it, a 32-bit unsigned integer. */
  readonly tag: number;
  /** Length of the payload in bytes. */
  readonly size: number;
}

/**
 * An append-only list of records that survives the process. One client owns it.
 *
 * A record lives until `done`; those that are not done when the process ends, however it ends, are in `left` of the next
 * run, in the order in which they were appended. A record may come again although it was `done` just before a crash.
 */
export interface RecordLog {
  /** What earlier runs left, oldest first. */
  readonly left: readonly StoredRecord[];
  /**
   * Resolves when the record is as safe as the extension's settings make it (on the disk, with fsync). The parts are
   * written one after the other as one payload and must not change before that.
   * @throws ConsumeError retryable, with a hint when to come again, when it could not be kept; then it never comes back.
   */
  append(parts: readonly Uint8Array[], tag: number): Promise<StoredRecord>;
  /** The payload; undefined when it cannot be read any more, which was counted and said, and `done` is still to be called. */
  read(record: StoredRecord): Promise<Buffer | undefined>;
  /** It is needed no more. Never fails; what it frees is freed in the background. */
  done(record: StoredRecord): void;
  /** Resolves when everything is written and closed. */
  close(): Promise<void>;
}

/** A small map that survives the process: state that is replaced, such as how far a file was read. */
export interface StateMap {
  /** What is known now. */
  readonly entries: ReadonlyMap<string, Uint8Array>;
  /** Resolves when the value is as safe as the extension's settings make it; undefined forgets the key. @throws ConsumeError retryable */
  set(key: string, value: Uint8Array | undefined): Promise<void>;
  close(): Promise<void>;
}

/** Who asks: `exporter`, its id, and what for ("traces"). Each combination has a place of its own on the disk. */
export interface StorageClient {
  readonly kind: "receiver" | "processor" | "connector" | "exporter";
  readonly id: ComponentId;
  readonly purpose: string;
}

/** An extension that other components can name with `storage:`. It is started before them and stopped after them. */
export interface StorageExtension extends Component {
  /** What all clients together may keep now, bytes; it falls where the disk holds less. */
  readonly capacityBytes: number;
  /** Opens a client's log. @throws Error when it cannot be used, with what to do. */
  openLog(client: StorageClient): Promise<RecordLog>;
  /** Opens a client's map. @throws Error when it cannot be used, with what to do. */
  openMap(client: StorageClient): Promise<StateMap>;
}

/**
 * The storage extension with this id.
 * @throws Error worded as the Collector's (storage.GetClient...) when there is none or it is no storage.
 */
export function storageOf(host: Host, id: string): StorageExtension {
  const extension = host.extension(id);
  if (!extension) throw new Error(`storage client extension "${id}" not found: list it in service::extensions`);
  if (!("openLog" in extension && "openMap" in extension))
    throw new Error(`requested extension "${id}" is not a storage extension: name a file_storage`);
  return extension as StorageExtension;
}
