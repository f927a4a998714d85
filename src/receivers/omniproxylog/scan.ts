/** Which paths the patterns stand for just now. */
import type { FileAccess, FolderEntry } from "./files.ts";
import { ANY_DEPTH, type Glob, type GlobPart, matchesGlob, matchesPart } from "./glob.ts";

/** Folder entries that one scan looks at; more is a pattern such as `/**`, which would cost too much ten times a second. */
export const MOST_ENTRIES = 100_000;

export interface Scan {
  /** Absolute, sorted, each once; plain paths whether or not they exist. */
  readonly paths: readonly string[];
  /** Folders that could not be listed, and why. */
  readonly failed: readonly { readonly folder: string; readonly error: NodeJS.ErrnoException }[];
  /** True when it gave up at `MOST_ENTRIES`. */
  readonly isCut: boolean;
}

/** Walks the folders that `include` needs; never rejects. `**` does not follow symbolic links to folders. */
export async function scanPaths(
  include: readonly Glob[],
  exclude: readonly Glob[],
  files: FileAccess,
  mostEntries: number = MOST_ENTRIES,
): Promise<Scan> {
  const walk = new Walk(files, mostEntries);
  for (const glob of include) await walk.follow(glob.base, glob.parts, 0);
  const paths = [...walk.paths].filter((path) => !exclude.some((glob) => matchesGlob(glob, path))).sort();
  return { paths, failed: [...walk.failed].map(([folder, error]) => ({ folder, error })), isCut: walk.left < 0 };
}

class Walk {
  readonly paths = new Set<string>();
  readonly failed = new Map<string, NodeJS.ErrnoException>();
  left: number;
  readonly #files: FileAccess;
  readonly #lists = new Map<string, readonly FolderEntry[]>();

  constructor(files: FileAccess, mostEntries: number) {
    this.#files = files;
    this.left = mostEntries;
  }

  async follow(folder: string, parts: readonly GlobPart[], at: number): Promise<void> {
    const part = parts[at];
    const isLast = at === parts.length - 1;
    if (part === undefined) {
      this.paths.add(folder);
      return;
    }
    for (const entry of await this.#list(folder)) {
      const path = folder === "/" ? `/${entry.name}` : `${folder}/${entry.name}`;
      if (part === ANY_DEPTH) {
        if (entry.kind === "folder") await this.follow(path, parts, at);
        else if (isLast) this.paths.add(path);
      } else if (matchesPart(part, entry.name)) {
        if (!isLast) {
          if (entry.kind !== "file") await this.follow(path, parts, at + 1);
        } else if (entry.kind !== "folder") this.paths.add(path);
      }
    }
    if (part === ANY_DEPTH && !isLast) await this.follow(folder, parts, at + 1);
  }

  async #list(folder: string): Promise<readonly FolderEntry[]> {
    let entries = this.#lists.get(folder);
    if (entries === undefined) {
      if (this.left < 0) return [];
      try {
        entries = await this.#files.list(folder);
      } catch (error) {
        this.failed.set(folder, error as NodeJS.ErrnoException);
        entries = [];
      }
      this.#lists.set(folder, entries);
      this.left -= entries.length;
    }
    return entries;
  }
}
