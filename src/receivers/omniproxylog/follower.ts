/** Keeps the set of followed files in step with the file system: what appears, moves, is replaced or goes away. */
import { dirname } from "node:path";
import type { FileAccess, FileFacts } from "./files.ts";
import type { Glob } from "./glob.ts";
import { type FileKey, fileKey } from "./identity.ts";
import type { RecordEncoder } from "./records.ts";
import { neighbours, Resumption } from "./resumption.ts";
import { type Machinery, Source } from "./source.ts";
import { Tail, type TailLimits } from "./tail.ts";
import { Turns } from "./turns.ts";
import { WantedPaths } from "./wanted.ts";

/** What to follow and how. */
export interface FollowerOptions extends TailLimits {
  readonly include: readonly Glob[];
  readonly exclude: readonly Glob[];
  /** For files that are there at the first look; later ones are read from their beginning. */
  readonly startAt: "beginning" | "end";
  /** `max_concurrent_files`: handles held open. */
  readonly openFiles: number;
  /** `rotate_wait`: how long a replaced or deleted file must have been quiet to be given up. */
  readonly rotateWaitMs: number;
  /** Makes the encoder for the lines of one path. */
  encoder(path: string): RecordEncoder;
}

/** `look` finds out what changed and sets the sources to work; it does not wait for them. */
export class Follower {
  readonly #files: FileAccess;
  readonly #options: FollowerOptions;
  readonly #shared: Machinery;
  readonly #tails = new Map<FileKey, Tail>();
  /** The tail that each path leads to; a file with several names has one of them. */
  readonly #byPath = new Map<string, Tail>();
  readonly #sources = new Map<string, Source>();
  readonly #wanted: WantedPaths;
  readonly #turns = new Turns();
  #isFirstLook = true;
  readonly #absentAtStart: string[] = [];
  readonly #resumption: Resumption;
  #looking: Promise<void> = Promise.resolve();

  constructor(files: FileAccess, options: FollowerOptions, shared: Machinery) {
    this.#files = files;
    this.#options = options;
    this.#shared = shared;
    this.#resumption = new Resumption(files, options.headBytes, shared.offsets, shared.telemetry);
    this.#wanted = new WantedPaths(options.include, options.exclude, files, shared.telemetry, shared.clock);
  }

  get openFiles(): number {
    let open = 0;
    for (const tail of this.#tails.values()) if (tail.isOpen) open++;
    return open;
  }

  get lagBytes(): number {
    let lag = 0;
    for (const tail of this.#tails.values()) lag += tail.lagBytes;
    return lag;
  }

  /** Files that are known. */
  get knownFiles(): number {
    return this.#tails.size;
  }

  /** Plain paths of the patterns at which the first look found nothing. */
  get absentAtStart(): readonly string[] {
    return this.#absentAtStart;
  }

  /** Reads the checkpoints and takes the first look, so that what is written from now on will be read. */
  async begin(): Promise<void> {
    await this.#resumption.load();
    await this.look();
  }

  /** One round; rounds do not overlap. Never rejects. */
  look(): Promise<void> {
    this.#looking = this.#looking
      .then(() => this.#look())
      .catch((error: unknown) =>
        this.#shared.telemetry.warn("round", "looking at the log files failed; the next round tries again", { error }),
      );
    return this.#looking;
  }

  /** Resolves when all that was seen is handed on, or the pipeline does not take it and stopping was asked for. */
  async idle(): Promise<void> {
    await Promise.all([...this.#sources.values()].map((source) => source.idle()));
  }

  /** Closes every handle. Lines that were not handed on are left where they are. */
  async close(): Promise<void> {
    await this.#looking;
    await Promise.all([...this.#tails.values()].map((tail) => tail.rest().catch(() => {})));
  }

  async #look(): Promise<void> {
    const { clock, stopped } = this.#shared;
    const now = clock.monotonic();
    await this.#wanted.refresh();
    for (const path of this.#pathsInTurn(now)) {
      if (stopped.aborted) return;
      await this.#lookAt(path, now);
    }
    if (this.#isFirstLook) await this.#takeUpRenamed(now);
    for (const tail of [...this.#tails.values()]) {
      if (tail.path === undefined) await this.#lookAtMoved(tail, now);
      if (tail.leftOriginAt !== undefined && this.#tails.has(tail.key))
        await this.#retire(tail, tail.leftOriginAt, now);
      if (tail.isIgnored) await this.#close(tail);
    }
    for (const source of this.#sources.values()) source.wake();
    this.#isFirstLook = false;
  }

  #pathsInTurn(now: number): string[] {
    return this.#turns.pick(
      new Set([...this.#wanted.since.keys(), ...this.#byPath.keys()]),
      (path) => {
        const tail = this.#byPath.get(path);
        if (tail?.isReady) return Number.POSITIVE_INFINITY;
        return tail?.changedAt ?? this.#wanted.since.get(path) ?? now;
      },
      now,
    );
  }

  async #lookAt(path: string, now: number): Promise<void> {
    const { telemetry } = this.#shared;
    const known = this.#byPath.get(path);
    let facts: FileFacts | undefined;
    try {
      facts = await this.#files.facts(path);
    } catch (error) {
      telemetry.unreadable("look", path, error);
      if (known) await this.#lookThroughHandle(known, now);
      return;
    }
    if (known && (!facts || fileKey(facts) !== known.key)) this.#leave(known, path, now);
    telemetry.readable("look", path);
    if (!facts) {
      if (this.#isFirstLook) this.#absentAtStart.push(path);
      return;
    }
    if (!facts.isFile) return telemetry.warn(path, "not a regular file: it is not read as a log", { path });
    const tail = this.#tails.get(fileKey(facts)) ?? (await this.#adopt(path, facts, now));
    if (tail.path === undefined) this.#arrive(tail, path);
    if (tail.path !== path) return; // a second name of a file that is followed
    tail.observe(facts, now);
    if (!tail.isOpen && tail.isReady && (await this.#makeRoom())) await this.#open(tail, path);
  }

  async #adopt(path: string, facts: FileFacts, now: number): Promise<Tail> {
    const checkpoint = await this.#resumption.checkpointOf(path, facts);
    // `start_at` is for the first run only: what is unknown to a later one came while nobody looked.
    const isNew = !this.#isFirstLook || this.#resumption.isLaterRun;
    const start = checkpoint ?? (isNew ? "beginning" : this.#options.startAt);
    const tail = this.#follow(new Tail(path, facts, start, this.#options, now));
    this.#byPath.set(path, tail);
    if (tail.origin !== path) tail.leftOriginAt = now; // renamed while nobody looked
    this.#shared.telemetry.info("following a log file", { path, offset: tail.offset, size: facts.size });
    return tail;
  }

  #follow(tail: Tail): Tail {
    this.#tails.set(tail.key, tail);
    let source = this.#sources.get(tail.origin);
    if (!source) {
      source = new Source(tail.origin, this.#options.encoder(tail.origin), this.#shared);
      this.#sources.set(tail.origin, source);
    }
    source.tails.push(tail);
    return tail;
  }

  /** Takes up the files that were renamed while nobody looked, and puts the files behind each path in order of age. */
  async #takeUpRenamed(now: number): Promise<void> {
    for (const { path, facts, checkpoint } of await this.#resumption.renamed((key) => this.#tails.has(key))) {
      const tail = this.#follow(new Tail(path, facts, checkpoint, this.#options, now));
      tail.path = undefined;
      tail.leftOriginAt = now;
    }
    for (const source of this.#sources.values()) source.tails.sort(byAge);
  }

  /** `path` leads to another file now, or to none. */
  #leave(tail: Tail, path: string, now: number): void {
    this.#byPath.delete(path);
    tail.path = undefined;
    tail.leftOriginAt ??= now;
    if (path === tail.origin) this.#shared.telemetry.rotated(path);
  }

  #arrive(tail: Tail, path: string): void {
    tail.path = path;
    this.#byPath.set(path, tail);
    if (path !== tail.origin) return;
    tail.leftOriginAt = undefined;
    tail.isEnding = false;
    tail.hasEnded = false;
  }

  /** For a file that no wanted path leads to. */
  async #lookAtMoved(tail: Tail, now: number): Promise<void> {
    if (tail.isIgnored || tail.hasEnded) return;
    if (tail.isOpen) return this.#lookThroughHandle(tail, now);
    // It was at rest when it was moved: what came in between is read where it is now.
    if (!(await this.#makeRoom())) return;
    const path = await this.#findNeighbour(tail);
    if (path === undefined || !(await this.#open(tail, path))) return this.#forget(tail);
    await this.#lookThroughHandle(tail, now);
  }

  async #lookThroughHandle(tail: Tail, now: number): Promise<void> {
    try {
      await tail.observeItself(now);
    } catch (error) {
      this.#shared.telemetry.unreadable("read", tail.origin, error);
    }
  }

  async #findNeighbour(tail: Tail): Promise<string | undefined> {
    const folder = dirname(tail.origin);
    try {
      for (const { path, facts } of await neighbours(this.#files, folder)) if (fileKey(facts) === tail.key) return path;
    } catch (error) {
      this.#shared.telemetry.warn(
        folder,
        "cannot list the folder of a log file that was renamed: its last lines may be missing",
        { folder, error },
      );
    }
    return undefined;
  }

  /**
   * Ends a file that left its path once nobody writes to it any more: it was deleted or another file took its place,
   * and it has been quiet for `rotate_wait`. A file that was moved away with nothing in its place may still be
   * written to (rotation without a signal to reopen), so it is followed on.
   */
  async #retire(tail: Tail, leftOriginAt: number, now: number): Promise<void> {
    if (tail.isReady) tail.hasEnded = false;
    const successor = this.#byPath.get(tail.origin);
    const isReplaced = tail.isDeleted || (successor !== undefined && successor !== tail);
    const isQuiet = now - Math.max(leftOriginAt, tail.changedAt) >= this.#options.rotateWaitMs;
    tail.isEnding = !tail.hasEnded && !tail.isIgnored && isReplaced && isQuiet;
    if (tail.isEnding && !tail.isOpen && tail.path !== undefined && (await this.#makeRoom()))
      await this.#open(tail, tail.path);
    if (!tail.hasEnded && !tail.isIgnored) return;
    if (this.#sources.get(tail.origin)?.isBusy) return;
    if (tail.path === undefined) await this.#forget(tail);
    else await this.#close(tail);
  }

  async #open(tail: Tail, path: string): Promise<boolean> {
    const { offsets, telemetry } = this.#shared;
    try {
      if (!(await tail.open(this.#files, path))) return false;
    } catch (error) {
      telemetry.unreadable("read", tail.origin, error);
      return false;
    }
    tail.known = offsets.save(tail.checkpoint);
    return true;
  }

  /** Lets the file rest that has been quiet longest, when as many are open as may be. */
  async #makeRoom(): Promise<boolean> {
    if (this.openFiles < this.#options.openFiles) return true;
    let quietest: Tail | undefined;
    for (const tail of this.#tails.values()) {
      if (!tail.isOpen || tail.isReady || tail.isEnding || tail.path === undefined) continue;
      if (this.#sources.get(tail.origin)?.isBusy) continue;
      if (quietest === undefined || tail.changedAt < quietest.changedAt) quietest = tail;
    }
    if (quietest) {
      await this.#close(quietest);
      return true;
    }
    this.#shared.telemetry.warn(
      "max_concurrent_files",
      "more log files have lines to read than may be open: the others wait; raise max_concurrent_files or narrow include",
      { max_concurrent_files: this.#options.openFiles },
    );
    return false;
  }

  async #forget(tail: Tail): Promise<void> {
    await this.#close(tail);
    this.#tails.delete(tail.key);
    const source = this.#sources.get(tail.origin);
    source?.tails.splice(source.tails.indexOf(tail), 1);
    if (source?.tails.length === 0) this.#sources.delete(tail.origin);
    this.#shared.telemetry.readable("read", tail.origin);
    this.#shared.telemetry.debug("a log file was read to its end", { path: tail.origin, offset: tail.offset });
    void this.#shared.offsets.forget(tail);
  }

  async #close(tail: Tail): Promise<void> {
    try {
      await tail.rest();
    } catch (error) {
      this.#shared.telemetry.debug("closing a log file failed", { path: tail.origin, error });
    }
  }
}

/** Files that left their path come before the one that is there now, the one that was written last behind the others. */
function byAge(a: Tail, b: Tail): number {
  const [isHereA, isHereB] = [a.path === a.origin, b.path === b.origin];
  if (isHereA !== isHereB) return isHereA ? 1 : -1;
  return a.modified < b.modified ? -1 : a.modified > b.modified ? 1 : 0;
}
