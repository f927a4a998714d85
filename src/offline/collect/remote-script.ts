/**
 * What the other side is asked to do, as text for its `sh`. It runs from standard input, so that no path is ever part of
 * a command line; what is given is quoted here and nowhere else. Text is handled as binary strings, a byte a character.
 */

/** The command that runs at the other side, whatever its login shell is. */
export const REMOTE_COMMAND = "exec sh -s";

/** What is collected: paths at the other side, as binary strings. */
export interface RemotePaths {
  /** The folder in which vLLM's omnilogger writes. */
  readonly traces: string;
  /** Omni Proxy's log, or the folder that it is in. */
  readonly log: string;
}

/** One word for sh, whatever is in it. @throws RangeError for a NUL, which no path can have */
export function quote(text: string): string {
  if (text.includes("\0")) throw new RangeError("a path cannot have a NUL");
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A path as the other side's commands take it: never an option, and "~/" is the login folder, where sh starts. */
export function remotePath(path: string): string {
  const below = path === "~" ? "." : path.startsWith("~/") ? path.slice(2) : path;
  const trimmed = below.replace(/(?<=.)\/+$/, "");
  const bytes = Buffer.from(trimmed === "" ? "." : trimmed, "utf8").toString("latin1");
  return bytes.startsWith("/") ? bytes : `./${bytes}`;
}

/** The access log that stands beside an error log of that name; "" where the name tells none. */
export function siblingAccessLog(path: string): string {
  const slash = path.lastIndexOf("/") + 1;
  const name = path.slice(slash);
  return name.includes("error") ? path.slice(0, slash) + name.replace("error", "access") : "";
}

/**
 * Lists what is there. The answer begins behind a line that is `mark` alone (a login shell may say something before), and
 * is made of records that end with NUL: `x COMMAND` is missing there;
 * `c TEXT` what chronyc says; `t|n|a SIZE MTIME INODE DEVICE PATH` a file of the trace folder, the error log, the access
 * log; `m t|n` not there; `e t` not all of the folder could be read; `z` the end.
 */
export function listScript(paths: RemotePaths, mark: string): string {
  const log = quote(paths.log);
  const facts = 's=$(stat -L -c "%s %Y %i %d" "$f" 2>/dev/null) && printf "%s %s %s\\000" "$k" "$s" "$f"';
  return `LC_ALL=C; export LC_ALL
printf '\\n%s\\n' ${quote(mark)}
for u in find stat tail head cat; do command -v "$u" >/dev/null 2>&1 || printf 'x %s\\000' "$u"; done
stat -L -c %s / >/dev/null 2>&1 || printf 'x stat -c\\000'
c=$(chronyc -n tracking 2>/dev/null </dev/null) || c=
printf 'c %s\\000' "$c"
k=t
export k
if [ -d ${quote(paths.traces)} ]; then
  find -L ${quote(paths.traces)} -type f -exec sh -c 'for f do ${facts}; done; :' sh {} + </dev/null || printf 'e t\\000'
else
  printf 'm t\\000'
fi
if [ -d ${log} ]; then e=${log}/nginx_error.log; a=${log}/nginx_access.log; else e=${log}; a=${quote(siblingAccessLog(paths.log))}; fi
any=
k=n
for f in "$e" "$e"[.-]*; do if [ -f "$f" ]; then ${facts}; any=1; fi; done
k=a
if [ -n "$a" ]; then for f in "$a" "$a"[.-]*; do if [ -f "$f" ]; then ${facts}; any=1; fi; done; fi
[ -n "$any" ] || printf 'm n\\000'
g() {
  s=$(stat -L -c "%i %d" "$3" 2>/dev/null) || s='0 0'
  printf 'b %s\\000' "$s"
  { tail -c "+$1" <"$3"; cat /dev/zero; } 2>/dev/null </dev/null | head -c "$2"
  s=$(stat -L -c "%s %i %d" "$3" 2>/dev/null) || s='0 0 0'
  printf 'f %s\\000' "$s"
}
printf 'z\\000'
`;
}

/**
 * Sends a part of a file: a record `b INODE DEVICE`, exactly `length` bytes (zeros where the file is shorter than it was),
 * a record `f SIZE INODE DEVICE`. Needs `listScript` to have run.
 */
export function partScript(path: string, offset: number, length: number): string {
  return `g ${offset + 1} ${length} ${quote(path)}\n`;
}

/** Ends the session. */
export const END_SCRIPT = "exit 0\n";
