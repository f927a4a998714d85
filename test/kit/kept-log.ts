import type { Component } from "../../src/kernel/api.ts";
import { ConsumeError } from "../../src/kernel/errors.ts";
import type { RecordLog, StorageExtension, StoredRecord } from "../../src/kernel/storage.ts";

interface KeptRecord extends StoredRecord {
  readonly payload: Buffer;
}

/** A storage extension with one log in memory, which outlives the components that open it one after the other. */
export class KeptLog implements StorageExtension {
  capacityBytes = 1024 * 1024 * 1024;
  readonly records = new Set<KeptRecord>();
  /** True: nothing more can be written. */
  isFull = false;
  #user: object | undefined;

  async start(): ReturnType<Component["start"]> {}
  async shutdown(): ReturnType<Component["shutdown"]> {}

  /** From now on only this user can change the log, as after a crash of the one before. */
  async openLog(): Promise<RecordLog> {
    const user = {};
    this.#user = user;
    const records = this.records;
    const left = [...records];
    return {
      left,
      append: async (parts, tag) => {
        await Promise.resolve();
        if (this.isFull || this.#user !== user)
          throw new ConsumeError("retryable", "the storage is full", { grpcCode: 8 });
        const payload = Buffer.concat(parts);
        const record = { payload, tag, size: payload.length };
        records.add(record);
        return record;
      },
      read: async (record) => (record as KeptRecord).payload,
      done: (record) => {
        if (this.#user === user) records.delete(record as KeptRecord);
      },
      close: async () => {},
    };
  }

  openMap(): Promise<never> {
    return Promise.reject(new Error("there is no map"));
  }
}
