/** Collects from one host, over one connection. */
import { randomBytes } from "node:crypto";
import { printable } from "../../omni/text.ts";
import { PART, recordName } from "../files/collected.ts";
import { Problem, reasonOf } from "../problem.ts";
import { listed } from "../words.ts";
import { type Listing, readListing } from "./listing.ts";
import { makePlan, type Plan, type Step } from "./plan.ts";
import { clockOf, type FileState, type HostRecord, readRecord, writeRecord } from "./record.ts";
import { END_SCRIPT, listScript, partScript, type RemotePaths } from "./remote-script.ts";
import type { Server } from "./server-list.ts";
import { Session } from "./session.ts";
import type { SshOptions } from "./ssh.ts";
import { overlapOf, type PartFile, type Store } from "./store.ts";

export interface HostOptions {
  readonly paths: RemotePaths;
  readonly ssh: SshOptions;
  readonly stallTimeoutMs: number;
  /** Unix milliseconds: only files that were written to since. */
  readonly sinceMs: number | undefined;
  /** Only tells what would be fetched. */
  readonly dryRun: boolean;
}

/** What was done on one host, or would be. Bytes are those of files. */
export interface HostReport {
  readonly host: string;
  /** Names its files. */
  readonly label: string;
  readonly state: "ok" | "failed";
  /** What went wrong; what was fetched before is kept, and a further run goes on from there. */
  readonly problem: string | undefined;
  /** Files fetched from their beginning, continued, and here already as they are there. */
  readonly fetched: number;
  readonly continued: number;
  readonly whole: number;
  /** Bytes that came, or would come. */
  readonly bytes: number;
  /** The host's clock by chrony; undefined where chrony does not tell. */
  readonly clock: { readonly offsetSeconds: number; readonly uncertaintySeconds: number } | undefined;
  readonly seconds: number;
}

/** Hears of bytes: how many are to come in all, and those that came. */
export interface ByteCount {
  expect(bytes: number): void;
  came(bytes: number): void;
}

const MOST_NAMED = 3;

type Counts = { fetched: number; continued: number; whole: number; bytes: number };

/** Never rejects but when `stop` aborts, with its reason. */
export async function collectHost(
  server: Server,
  options: HostOptions,
  store: Store,
  count: ByteCount,
  stop: AbortSignal | undefined,
): Promise<HostReport> {
  const began = performance.now();
  const counts: Counts = { fetched: 0, continued: 0, whole: 0, bytes: 0 };
  let clock: HostReport["clock"];
  let problem: string | undefined;
  try {
    const run = new HostRun(server, options, store, count, counts);
    problem = await run.run(stop, (tracking) => {
      const known = clockOf(tracking);
      clock = known && { offsetSeconds: known.offsetUs / 1e6, uncertaintySeconds: known.uncertaintyUs / 1e6 };
    });
  } catch (error) {
    stop?.throwIfAborted();
    problem = reasonOf(error);
  }
  return {
    host: server.host,
    label: server.label,
    state: problem === undefined ? "ok" : "failed",
    problem,
    ...counts,
    clock,
    seconds: Math.round(performance.now() - began) / 1000,
  };
}

class HostRun {
  readonly #server: Server;
  readonly #options: HostOptions;
  readonly #store: Store;
  readonly #count: ByteCount;
  readonly #counts: Counts;
  /** What the record says of the files here; changed as they come. */
  readonly #files = new Map<string, FileState>();
  /** Files here whose content was carried over to another name. */
  readonly #carried = new Set<string>();
  /** Paths that changed while they were read. */
  readonly #changed: string[] = [];

  constructor(server: Server, options: HostOptions, store: Store, count: ByteCount, counts: Counts) {
    this.#server = server;
    this.#options = options;
    this.#store = store;
    this.#count = count;
    this.#counts = counts;
  }

  /** @returns what went wrong with some of the files; undefined when all is well @throws Problem, and errors of the file system */
  async run(stop: AbortSignal | undefined, tell: (record: HostRecord) => void): Promise<string | undefined> {
    const { paths, ssh, stallTimeoutMs, dryRun } = this.#options;
    const session = new Session(this.#server, ssh, stallTimeoutMs, stop);
    try {
      const mark = `omnishim ${randomBytes(16).toString("hex")}`;
      session.send(listScript(paths, mark));
      await session.greeting(mark);
      const listing = await readListing(session);
      const record = {
        host: this.#server.host,
        collectedAt: new Date().toISOString(),
        tracking: listing.tracking,
        files: this.#files,
      };
      tell(record);
      if (listing.missing.size === 2) throw new Problem(this.#nothing());
      const plan = await this.#plan(listing);
      this.#counts.whole = plan.whole.length;
      for (const step of plan.steps) this.#count.expect(step.remote.size - step.offset);
      if (dryRun) for (const step of plan.steps) this.#fetched(step, step.remote.size - step.offset);
      else
        try {
          await this.#fetchAll(session, plan);
        } finally {
          await writeRecord(this.#store.at(recordName(this.#server.label)), record);
        }
      return this.#shortcomings(listing, plan, session);
    } finally {
      await session.close();
    }
  }

  async #plan({ files }: Listing): Promise<Plan> {
    const { paths, sinceMs } = this.#options;
    const { label } = this.#server;
    const known = await readRecord(this.#store.at(recordName(label)));
    for (const [name, state] of known?.files ?? []) this.#files.set(name, state);
    const wanted = files.filter(({ mtime }) => sinceMs === undefined || mtime * 1000 >= sinceMs);
    return makePlan(wanted, paths, label, this.#files, await this.#store.look(label));
  }

  async #fetchAll(session: Session, plan: Plan): Promise<void> {
    for (const { name, remote } of plan.whole) this.#note(name, remote);
    // Whole files are copied before anything gets a new name: what rotation has renamed there is the beginning of another file here.
    for (const step of plan.steps) await this.#store.prepare(step);
    const again = await this.#fetch(session, plan.steps, plan.aside);
    await this.#fetch(session, again, plan.aside);
    session.send(END_SCRIPT);
    const isElsewhere = (name: string): boolean => this.#carried.has(name) || plan.compressed.has(name);
    for (const name of plan.gone) if (isElsewhere(name)) await this.#drop(name);
    for (const [name, aside] of plan.aside) if (isElsewhere(name)) await this.#drop(aside);
  }

  /** @returns steps to be done once more, from the beginning of their files */
  async #fetch(session: Session, steps: readonly Step[], asides: Plan["aside"]): Promise<Step[]> {
    const again: Step[] = [];
    for (const { remote, offset } of steps) {
      const from = offset - overlapOf(offset);
      session.send(partScript(remote.path, from, remote.size - from));
    }
    for (const step of steps) {
      const verdict = await this.#receive(session, step);
      if (verdict === "other") {
        again.push({ ...step, base: undefined, offset: 0 });
        this.#count.expect(step.offset);
      } else if (verdict === "changed") {
        this.#changed.push(printable(Buffer.from(step.remote.path, "latin1").toString("utf8")));
        await this.#store.remove(`${step.name}${PART}`);
      } else {
        const aside = asides.get(step.name);
        if (aside !== undefined) await this.#setAside(step.name, aside);
        await this.#store.commit(step.name, step.remote.mtime);
        this.#note(step.name, step.remote);
        if (step.base !== undefined && step.base !== step.name) this.#carried.add(step.base);
      }
    }
    return again;
  }

  async #drop(name: string): Promise<void> {
    await this.#store.remove(name);
    this.#files.delete(name);
  }

  /** Reads one answer to `partScript`. "other": what is here is not the beginning of that file; "changed": it was replaced while it was read. */
  async #receive(session: Session, step: Step): Promise<"whole" | "other" | "changed"> {
    const { remote, offset, name } = step;
    const [inode, device] = fields(await session.record(), "b");
    const began = `${device}:${inode}` === remote.inode;
    const part = await this.#store.part(name, offset);
    const overlap = overlapOf(offset);
    let whole = false;
    try {
      await this.#bytes(session, remote.size - offset + overlap, overlap, began ? part : undefined);
      const [size, ...end] = fields(await session.record(), "f");
      whole = began && part.same && `${end[1]}:${end[0]}` === remote.inode && Number(size) >= remote.size;
    } finally {
      await part.close(whole);
    }
    if (!part.same) return "other";
    if (!whole) return "changed";
    this.#fetched(step, remote.size - offset);
    return "whole";
  }

  async #bytes(session: Session, length: number, overlap: number, part: PartFile | undefined): Promise<void> {
    let again = overlap;
    await session.bytes(length, async (piece) => {
      this.#count.came(Math.max(0, piece.length - again));
      again = Math.max(0, again - piece.length);
      await part?.take(piece);
    });
  }

  #fetched(step: Step, bytes: number): void {
    if (step.base === undefined) this.#counts.fetched++;
    else this.#counts.continued++;
    this.#counts.bytes += bytes;
  }

  async #setAside(name: string, aside: string): Promise<void> {
    await this.#store.rename(name, aside);
    const old = this.#files.get(name);
    if (old) this.#files.set(aside, old);
  }

  #note(name: string, { size, mtime, inode }: FileState): void {
    this.#files.set(name, { size, mtime, inode });
  }

  #nothing(): string {
    const { traces, log } = this.#options.paths;
    return `neither the folder ${shown(traces)} nor a log at ${shown(log)} is there`;
  }

  #shortcomings(listing: Listing, plan: Plan, session: Session): string | undefined {
    const out: string[] = [];
    if (!listing.readable) {
      const said = printable(session.messages.trim().split("\n")[0] ?? "");
      out.push(`not all of ${shown(this.#options.paths.traces)} can be read there${said === "" ? "" : ` (${said})`}`);
    }
    const { refused } = plan;
    if (refused.length > 0)
      out.push(
        `left out: ${listed(
          refused.map(({ path, reason }) => `${shown(path)} (${reason})`),
          MOST_NAMED,
        )}`,
      );
    if (this.#changed.length > 0)
      out.push(`replaced or cut while it was read, run this again: ${listed(this.#changed, MOST_NAMED)}`);
    return out.length > 0 ? out.join("; ") : undefined;
  }
}

/** The numbers of a record that begins with `kind`. @throws Problem */
function fields(record: string, kind: "b" | "f"): string[] {
  if (!/^[bf](?: \d{1,20}){2,3}$/.test(record) || !record.startsWith(kind))
    throw new Problem("it answers with something else than was asked for");
  return record.slice(2).split(" ");
}

/** A path of the other side for people. */
function shown(path: string): string {
  return printable(Buffer.from(path, "latin1").toString("utf8"));
}
