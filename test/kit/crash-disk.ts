import type { DataFile, Folder } from "../../src/extensions/filestorage/files.ts";

interface Write {
  readonly position: number;
  readonly bytes: Buffer;
}

interface Content {
  /** What is on the disk. */
  synced: Buffer;
  /** What was written since; a crash may keep any part of it. */
  pending: Write[];
}

function put(into: Buffer, { position, bytes }: Write): Buffer {
  const whole = Buffer.alloc(Math.max(into.length, position + bytes.length));
  into.copy(whole);
  bytes.copy(whole, position);
  return whole;
}

/**
 * A folder in memory that can lose its power: what was not synced is then kept, torn, filled with zeros or gone, as
 * `random` says. It can also be full, or refuse single calls.
 */
export class CrashDisk implements Folder {
  readonly path = "disk";
  /** Bytes that fit; ENOSPC beyond, after as much as fits was written. */
  capacity = Number.POSITIVE_INFINITY;
  /** Asked before each call; an error refuses it. */
  fault:
    | ((call: "create" | "write" | "sync" | "truncate" | "read" | "remove", name: string) => Error | undefined)
    | undefined;
  #files = new Map<string, Content>();
  #syncedNames = new Map<string, Content>();
  #isOff = false;

  /** The power goes: calls that still come fail. @returns what is found after the next start */
  crash(random: () => number): CrashDisk {
    this.#isOff = true;
    const next = new CrashDisk();
    const names = new Map([...this.#syncedNames].filter(([name]) => this.#files.has(name) || random() < 0.5));
    for (const [name, content] of this.#files)
      if (this.#syncedNames.has(name) || random() < 0.5) names.set(name, content);
    for (const [name, { synced, pending }] of names) {
      let bytes = synced;
      for (const write of pending) {
        const fate = random();
        if (fate < 0.3) continue;
        if (fate < 0.6) bytes = put(bytes, write);
        else if (fate < 0.8)
          bytes = put(bytes, { ...write, bytes: write.bytes.subarray(0, Math.floor(random() * write.bytes.length)) });
        else bytes = put(bytes, { ...write, bytes: Buffer.alloc(write.bytes.length) });
      }
      const content = { synced: bytes, pending: [] };
      next.#files.set(name, content);
      next.#syncedNames.set(name, content);
    }
    return next;
  }

  /** The process is killed: what was written is all there. */
  kill(): CrashDisk {
    this.#isOff = true;
    const next = new CrashDisk();
    for (const [name, content] of this.#files) next.#files.set(name, { synced: current(content), pending: [] });
    next.#syncedNames = new Map(next.#files);
    return next;
  }

  get names(): string[] {
    return [...this.#files.keys()].sort();
  }

  get used(): number {
    let sum = 0;
    for (const content of this.#files.values()) sum += current(content).length;
    return sum;
  }

  /** Changes a file behind the program's back. */
  damage(name: string, change: (bytes: Buffer) => Buffer): void {
    const content = this.#files.get(name);
    if (!content) throw new Error(`no file ${name}`);
    content.synced = change(Buffer.from(current(content)));
    content.pending = [];
  }

  async list(): Promise<ReadonlyMap<string, number>> {
    return new Map([...this.#files].map(([name, content]) => [name, current(content).length]));
  }

  async create(name: string): Promise<DataFile> {
    this.#check("create", name);
    if (this.#files.has(name)) throw errno("EEXIST");
    this.#files.set(name, { synced: Buffer.alloc(0), pending: [] });
    return this.#file(name);
  }

  async open(name: string): Promise<DataFile> {
    this.#check("create", name);
    if (!this.#files.has(name)) throw errno("ENOENT");
    return this.#file(name);
  }

  async read(name: string): Promise<Buffer | undefined> {
    const content = this.#files.get(name);
    return content && current(content);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#check("create", to);
    const content = this.#files.get(from);
    if (!content) throw errno("ENOENT");
    this.#files.delete(from);
    this.#files.set(to, content);
  }

  async remove(name: string): Promise<void> {
    this.#check("remove", name);
    this.#files.delete(name);
  }

  async sync(): Promise<void> {
    this.#check("sync", ".");
    this.#syncedNames = new Map(this.#files);
  }

  #check(call: Parameters<NonNullable<CrashDisk["fault"]>>[0], name: string): void {
    if (this.#isOff) throw errno("EIO");
    const fault = this.fault?.(call, name);
    if (fault) throw fault;
  }

  #file(name: string): DataFile {
    const content = this.#files.get(name) as Content;
    return {
      write: async (parts, position) => {
        const bytes = Buffer.concat(parts);
        const room = this.capacity - this.used + Math.max(0, current(content).length - position);
        this.#check("write", name);
        content.pending.push({ position, bytes: bytes.subarray(0, Math.max(0, Math.min(bytes.length, room))) });
        if (bytes.length > room) throw errno("ENOSPC");
      },
      read: async (position, length) => {
        this.#check("read", name);
        return current(content).subarray(position, position + length);
      },
      truncate: async (length) => {
        this.#check("truncate", name);
        content.synced = current(content).subarray(0, length);
        content.pending = [];
      },
      sync: async () => {
        this.#check("sync", name);
        content.synced = current(content);
        content.pending = [];
      },
      close: async () => {},
    };
  }
}

function current({ synced, pending }: Content): Buffer {
  return pending.reduce(put, synced);
}

/** An error as node:fs throws it. */
export function errno(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: made by the test`), { code });
}
