/** Which files are fetched, from where on, and what they are called here. Pure. */
import { withoutRotation } from "../../omni/rotation.ts";
import { PART } from "../files/collected.ts";
import type { FileState } from "./record.ts";
import { type RemotePaths, siblingAccessLog } from "./remote-script.ts";

/** A file that the other side has. */
export interface RemoteFile extends FileState {
  /** Of the trace folder, the error log or the access log. */
  readonly kind: "t" | "n" | "a";
  /** At the other side, a binary string. */
  readonly path: string;
}

/** What is here already of one name. */
export interface LocalState {
  readonly size: number;
  /** Unix seconds. */
  readonly mtime: number;
}

/** Names here, below the target folder -> what is there. A name with PART behind it is a file that is not whole yet. */
export type LocalFiles = ReadonlyMap<string, LocalState>;

/** One file to be fetched. */
export interface Step {
  readonly remote: RemoteFile;
  /** Below the target folder. */
  readonly name: string;
  /** The file here that its beginning is taken from: its own part, or a whole one, of which a copy is continued. */
  readonly base: string | undefined;
  /** Bytes of the base. */
  readonly offset: number;
}

export interface Plan {
  readonly steps: readonly Step[];
  /** Files that are here as they are there. */
  readonly whole: readonly { readonly name: string; readonly remote: RemoteFile }[];
  /** Files here whose name the host has no more. They go where their content has another name now. */
  readonly gone: readonly string[];
  /** Files here that another one takes the name of: each is kept under the name given, and then as those that are gone. */
  readonly aside: ReadonlyMap<string, string>;
  /** Of both, those that the host has compressed since. */
  readonly compressed: ReadonlySet<string>;
  /** Files that cannot be taken, and why. */
  readonly refused: readonly { readonly path: string; readonly reason: string }[];
}

const COMPRESSED = /\.(?:gz|xz|zst|bz2)$/;
/** What rotation puts behind a log's name. */
const SUFFIX = /^(?:[.-][A-Za-z0-9][A-Za-z0-9._-]{0,99})?$/;
const MOST_NAME = 1024;

/** Where a file goes: logs_HOST/, nginx_HOST.log and nginx_access_HOST.log; or why it cannot go anywhere. */
export function localName(file: RemoteFile, paths: RemotePaths, label: string): string | { readonly reason: string } {
  const path = Buffer.from(file.path, "latin1").toString("utf8");
  if (path.includes("\ufffd")) return { reason: "its name is no UTF-8" };
  if (path.endsWith(PART)) return { reason: `its name ends with ${PART}` };
  if (file.kind === "t") {
    const inside = file.path.startsWith(`${paths.traces}/`) || paths.traces === "/";
    const folder = Buffer.from(paths.traces === "/" ? "/" : `${paths.traces}/`, "latin1").toString("utf8");
    const parts = path.slice(folder.length).split("/");
    if (!inside || path.length > MOST_NAME || parts.some((part) => part === "" || part === "." || part === ".."))
      return { reason: "its path leads out of the folder" };
    return `logs_${label}/${parts.join("/")}`;
  }
  const inFolder = file.kind === "n" ? "/nginx_error.log" : "/nginx_access.log";
  const alone = file.kind === "n" ? paths.log : siblingAccessLog(paths.log);
  for (const stem of [`${paths.log}${inFolder}`, alone]) {
    const suffix = file.path.slice(stem.length);
    if (stem !== "" && file.path.startsWith(stem) && SUFFIX.test(suffix))
      return `nginx_${file.kind === "a" ? "access_" : ""}${label}.log${suffix}`;
  }
  return { reason: "its name is none that rotation gives" };
}

/** Compares what is there with what is here. `known`: what the record says of the files here. */
export function makePlan(
  files: readonly RemoteFile[],
  paths: RemotePaths,
  label: string,
  known: ReadonlyMap<string, FileState>,
  local: LocalFiles,
): Plan {
  const named = new Map<string, RemoteFile>();
  const refused: { path: string; reason: string }[] = [];
  for (const file of files) {
    const name = localName(file, paths, label);
    if (typeof name === "string") named.set(name, file);
    else refused.push({ path: file.path, reason: name.reason });
  }
  const steps: Step[] = [];
  const whole: { name: string; remote: RemoteFile }[] = [];
  const aside = new Map<string, string>();
  const compressed = new Set<string>();
  for (const [name, remote] of named) {
    const here = local.get(name);
    if (here && here.size === remote.size && here.mtime === remote.mtime) whole.push({ name, remote });
    else {
      steps.push({ remote, name, ...baseOf(name, remote, known, local) });
      const old = known.get(name);
      if (old && here && old.inode !== remote.inode) aside.set(name, asideName(name, old, local));
    }
  }
  const gone = [...known.keys()].filter((name) => !named.has(name) && local.has(name));
  for (const name of [...gone, ...aside.keys()])
    if (isCompressed(name, known.get(name) as FileState, named)) compressed.add(name);
  return { steps, whole, gone, aside, compressed, refused };
}

/** Where a file's beginning is: in its own part, or in the file here that was the same one there. */
function baseOf(
  name: string,
  remote: RemoteFile,
  known: ReadonlyMap<string, FileState>,
  local: LocalFiles,
): Pick<Step, "base" | "offset"> {
  const part = local.get(name + PART);
  if (part && part.size > 0 && part.size <= remote.size) return { base: name + PART, offset: part.size };
  for (const [other, state] of known) {
    const here = local.get(other);
    if (state.inode === remote.inode && here && here.size > 0 && here.size <= remote.size)
      return { base: other, offset: here.size };
  }
  return { base: undefined, offset: 0 };
}

/** True when what was collected as `name` is at the other side in compressed form now. */
function isCompressed(name: string, old: FileState, named: ReadonlyMap<string, RemoteFile>): boolean {
  if (COMPRESSED.test(name)) return false;
  const stem = withoutRotation(name);
  // logrotate and gzip give the compressed file the time of the plain one.
  return [...named].some(
    ([other, { mtime }]) => COMPRESSED.test(other) && withoutRotation(other) === stem && mtime === old.mtime,
  );
}

/** nginx_HOST.log -> nginx_HOST.log-20261122-043000: a name that rotation might have given. */
function asideName(name: string, old: FileState, local: LocalFiles): string {
  const compression = COMPRESSED.exec(name)?.[0] ?? "";
  const digits = new Date(old.mtime * 1000).toISOString().replace(/\D/g, "");
  for (let second = Number(digits.slice(8, 14)); ; second++) {
    const aside = `${withoutRotation(name)}-${digits.slice(0, 8)}-${String(second).padStart(6, "0")}${compression}`;
    if (!local.has(aside)) return aside;
  }
}
