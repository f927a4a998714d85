/** The paths that are wanted, kept up to date at a bounded cost. */
import type { Clock } from "../../telemetry/clock.ts";
import type { FileAccess } from "./files.ts";
import type { Glob } from "./glob.ts";
import { scanPaths } from "./scan.ts";
import type { Telemetry } from "./telemetry.ts";

/** Listing folders may take one part in this many of the time. */
const SCAN_SHARE = 20;

/** Paths that the patterns stand for, as of the last scan. */
export class WantedPaths {
  readonly #include: readonly Glob[];
  readonly #exclude: readonly Glob[];
  readonly #files: FileAccess;
  readonly #telemetry: Telemetry;
  readonly #clock: Clock;
  #since: ReadonlyMap<string, number> = new Map();
  #failedFolders: ReadonlySet<string> = new Set();
  #nextScanAt = Number.NEGATIVE_INFINITY;

  constructor(
    include: readonly Glob[],
    exclude: readonly Glob[],
    files: FileAccess,
    telemetry: Telemetry,
    clock: Clock,
  ) {
    this.#include = include;
    this.#exclude = exclude;
    this.#files = files;
    this.#telemetry = telemetry;
    this.#clock = clock;
  }

  /** Each path, with when it was first wanted (monotonic milliseconds). */
  get since(): ReadonlyMap<string, number> {
    return this.#since;
  }

  /** Scans again, unless the last scan took so long that it is too early. Never rejects. */
  async refresh(): Promise<void> {
    const began = this.#clock.monotonic();
    if (began < this.#nextScanAt) return;
    const scan = await scanPaths(this.#include, this.#exclude, this.#files);
    const ended = this.#clock.monotonic();
    this.#nextScanAt = ended + (ended - began) * SCAN_SHARE;

    const since = new Map(scan.paths.map((path) => [path, this.#since.get(path) ?? began]));
    for (const path of this.#since.keys()) if (!since.has(path)) this.#telemetry.readable("look", path);
    this.#since = since;

    const failed = new Set(scan.failed.map(({ folder }) => folder));
    for (const { folder, error } of scan.failed) this.#telemetry.unreadable("look", folder, error);
    for (const folder of this.#failedFolders) if (!failed.has(folder)) this.#telemetry.readable("look", folder);
    this.#failedFolders = failed;
    if (scan.isCut)
      this.#telemetry.warn(
        "scan",
        "the include patterns reach more folder entries than are looked at: narrow them, some files are not followed",
        {},
      );
  }
}
