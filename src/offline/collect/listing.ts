/** What the other side answers to `listScript`. */
import { Problem } from "../problem.ts";
import type { RemoteFile } from "./plan.ts";
import type { Session } from "./session.ts";

export interface Listing {
  readonly files: readonly RemoteFile[];
  /** What `chronyc tracking` printed there; "" where it is not there. */
  readonly tracking: string;
  /** The trace folder, the log. */
  readonly missing: ReadonlySet<"t" | "n">;
  /** False when find could not read all of the trace folder. */
  readonly readable: boolean;
}

/** More files on one host are none of ours. */
const MOST_FILES = 1_000_000;
const FILE = /^([tna]) (\d{1,16}) (\d{1,12}) (\d{1,20}) (\d{1,20}) ([\s\S]+)$/;

/** Reads it up to its end. @throws Problem */
export async function readListing(session: Session): Promise<Listing> {
  const files: RemoteFile[] = [];
  const missing = new Set<"t" | "n">();
  const commands: string[] = [];
  let tracking = "";
  let readable = true;
  for (let record = await session.record(); record !== "z"; record = await session.record()) {
    const file = FILE.exec(record);
    const rest = record.slice(2);
    if (file) {
      const [, kind, size, mtime, inode, device, path] = file as unknown as string[];
      files.push({
        kind: kind as RemoteFile["kind"],
        size: Number(size),
        mtime: Number(mtime),
        inode: `${device}:${inode}`,
        path: path as string,
      });
      if (files.length > MOST_FILES) throw new Problem(`more than ${MOST_FILES} files are there; give a deeper folder`);
    } else if (record.startsWith("c ")) tracking = Buffer.from(rest, "latin1").toString("utf8").trim();
    else if (record.startsWith("x ")) commands.push(rest);
    else if (record === "m t" || record === "m n") missing.add(rest as "t" | "n");
    else if (record === "e t") readable = false;
    else throw new Problem("it answers with something else than was asked for");
  }
  if (commands.length > 0) throw new Problem(`it has no ${[...new Set(commands)].join(", ")}, which collecting needs`);
  return { files, tracking, missing, readable };
}
