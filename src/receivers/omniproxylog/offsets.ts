/** Where each file stands, remembered behind the acknowledgement of its lines. */

/** All that is needed to go on with a file: which one it is, and up to where it was handed on. */
export interface Checkpoint {
  readonly device: bigint;
  readonly inode: bigint;
  /** First bytes, `fingerprint_size` of them at most; an inode alone may have been used again. */
  readonly head: Uint8Array;
  /** The path under which it was found first: the origin of its lines. */
  readonly path: string;
  /** The first byte that was not handed on. */
  readonly offset: number;
}

/**
 * Keeps checkpoints. `save` resolves when the checkpoint is as safe as this store makes it; only then is more read.
 * It never rejects: a store that cannot write says so itself and tries again.
 */
export interface OffsetStore {
  /** What an earlier run left, read once at start. */
  load(): Promise<readonly Checkpoint[]>;
  /** Replaces what was known of this device and inode. */
  save(checkpoint: Checkpoint): Promise<void>;
  /** The file is gone and was read to its end. */
  forget(file: Pick<Checkpoint, "device" | "inode">): Promise<void>;
  /** Frees what `load` opened, so that another receiver may load what this one has saved. */
  close(): Promise<void>;
}

/** Lives as long as its object: a restart of the process begins with `start_at` again. */
export class MemoryOffsets implements OffsetStore {
  readonly #checkpoints = new Map<string, Checkpoint>();

  async load(): Promise<readonly Checkpoint[]> {
    return [...this.#checkpoints.values()];
  }

  async save(checkpoint: Checkpoint): Promise<void> {
    this.#checkpoints.set(`${checkpoint.device}:${checkpoint.inode}`, checkpoint);
  }

  async forget(file: Pick<Checkpoint, "device" | "inode">): Promise<void> {
    this.#checkpoints.delete(`${file.device}:${file.inode}`);
  }

  async close(): Promise<void> {}
}
