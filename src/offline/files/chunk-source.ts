import { closeSync, createReadStream, openSync, readSync } from "node:fs";
import { createGunzip } from "node:zlib";

/** A file to be read. */
export interface DataFile {
  readonly path: string;
  readonly gzip: boolean;
}

/** @throws when a plain file cannot be opened; a gzip file's fault shows at the first read */
export async function openChunks(file: DataFile): Promise<ChunkSource> {
  return file.gzip ? new GzipSource(file.path) : new PlainSource(file.path);
}

/** Where bytes come from, in pieces. */
export interface ChunkSource {
  /** Reads into `into` from `at` on; 0 at the end. */
  read(into: Buffer, at: number): Promise<number>;
  /** Bytes taken from disk since the last call. */
  takeRaw(): number;
  close(): Promise<void>;
}

/** Reads at once: the next chunk is there sooner than another thread could be asked for it. */
class PlainSource implements ChunkSource {
  readonly #file: number;
  #open = true;
  #raw = 0;

  constructor(path: string) {
    this.#file = openSync(path, "r");
  }

  async read(into: Buffer, at: number): Promise<number> {
    const read = readSync(this.#file, into, at, into.length - at, null);
    this.#raw += read;
    return read;
  }

  takeRaw(): number {
    const raw = this.#raw;
    this.#raw = 0;
    return raw;
  }

  async close(): Promise<void> {
    if (this.#open) closeSync(this.#file);
    this.#open = false;
  }
}

class GzipSource implements ChunkSource {
  readonly #file;
  readonly #chunks: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;
  #taken = 0;

  constructor(path: string) {
    this.#file = createReadStream(path);
    const gunzip = createGunzip();
    this.#file.on("error", (error) => gunzip.destroy(error));
    this.#chunks = this.#file.pipe(gunzip)[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  async read(into: Buffer, at: number): Promise<number> {
    if (this.#at === this.#chunk.length) {
      const { value, done } = await this.#chunks.next();
      if (done) return 0;
      this.#chunk = value;
      this.#at = 0;
    }
    const count = Math.min(into.length - at, this.#chunk.length - this.#at);
    this.#chunk.copy(into, at, this.#at, this.#at + count);
    this.#at += count;
    return count;
  }

  takeRaw(): number {
    const raw = this.#file.bytesRead - this.#taken;
    this.#taken = this.#file.bytesRead;
    return raw;
  }

  async close(): Promise<void> {
    this.#file.destroy();
    await this.#chunks.return?.();
  }
}
