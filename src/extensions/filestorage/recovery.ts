/** What earlier runs left in a client's folder, made ready to be read. */
import type { Folder } from "./files.ts";
import { decodeDone, decodeHeader, FORMAT, FRAME_BYTES, HEADER_BYTES, readHead, scanFrames } from "./frame.ts";
import type { StorageParts } from "./parts.ts";
import { doneFile, type Entry, parseSegmentFile, Segment, type SegmentName } from "./segment.ts";

/** The files of a log, and their records that are not done; both oldest first. */
export interface Recovered {
  readonly segments: Segment[];
  readonly left: Entry[];
}

/**
 * Reads every segment once. What is damaged between good records, or behind them in a segment that others followed, is
 * set aside into a `.corrupt` file, counted and said. What stands behind the last record of the last segment was being
 * written when the process or the machine stopped, so nobody was told that it is safe: it is cut off.
 * @throws Error when a segment has another format
 */
export async function recover(client: string, folder: Folder, parts: StorageParts): Promise<Recovered> {
  const files = await folder.list();
  const names = [...files.keys()].flatMap((file) => parseSegmentFile(file) ?? []).sort((a, b) => a.number - b.number);
  await removeOrphans(folder, files, names);
  const segments: Segment[] = [];
  const left: Entry[] = [];
  for (const name of names) {
    const isLast = name === names.at(-1);
    const entries = await readSegment({ client, folder, parts, files }, name, isLast);
    if (!entries) continue;
    segments.push(entries.segment);
    left.push(...entries.left);
  }
  return { segments, left };
}

interface Surroundings {
  readonly client: string;
  readonly folder: Folder;
  readonly parts: StorageParts;
  readonly files: ReadonlyMap<string, number>;
}

async function readSegment(
  { client, folder, parts, files }: Surroundings,
  name: SegmentName,
  isLast: boolean,
): Promise<{ segment: Segment; left: Entry[] } | undefined> {
  const doneBytes = (await folder.read(doneFile(name))) ?? Buffer.alloc(0);
  const segment = new Segment(folder, name, undefined, doneBytes.length - (doneBytes.length % 8));
  const bytes = (await folder.read(segment.file)) ?? Buffer.alloc(0);
  const path = `${folder.path}/${segment.file}`;
  const format = decodeHeader(bytes);
  if (format !== undefined && format !== FORMAT)
    throw new Error(
      `${path} has format ${format}, this program reads format ${FORMAT}: start the version that wrote it until it has sent everything, or move the folder away`,
    );
  if (bytes.length < HEADER_BYTES && isLast) {
    await segment.remove(); // it was just being made
    return undefined;
  }
  const scan = scanFrames(bytes, HEADER_BYTES, name.salt);
  const damaged = [...scan.damaged];
  if (format === undefined) damaged.unshift([0, Math.min(HEADER_BYTES, bytes.length)]);
  if (scan.end < bytes.length) {
    if (isLast && !isWhole(bytes, scan.end, name.salt))
      await cutTail(folder, parts, segment.file, scan.end, bytes.length - scan.end);
    else damaged.push([scan.end, bytes.length]);
  }
  if (damaged.length > 0) await setAside({ client, folder, parts, files }, segment.file, bytes, damaged);

  const done = new Set(decodeDone(name.salt, doneBytes));
  const left: Entry[] = [];
  for (const frame of scan.frames) {
    const entry = segment.add(frame);
    if (done.has(entry.at)) {
      entry.isDone = true;
      segment.live--;
    } else left.push(entry);
  }
  segment.budgeted = bytes.length + doneBytes.length;
  parts.budget.take(segment.budgeted);
  return { segment, left };
}

/** Whether a whole record begins at `at` whose payload is damaged: that is no write that was cut short. */
function isWhole(bytes: Buffer, at: number, salt: number): boolean {
  const size = readHead(bytes, at, salt);
  return size !== undefined && at + FRAME_BYTES + size <= bytes.length;
}

async function cutTail(folder: Folder, parts: StorageParts, file: string, end: number, bytes: number): Promise<void> {
  const opened = await folder.open(file);
  try {
    await opened.truncate(end);
    await opened.sync();
  } finally {
    await opened.close();
  }
  parts.telemetry.info(
    "Cut off what was being written to the storage when the last run stopped; nobody was told it was safe",
    {
      file: `${folder.path}/${file}`,
      bytes,
    },
  );
}

/** Copies damaged stretches into `<segment>.corrupt`; one that is there already was said by an earlier run. */
async function setAside(
  { client, folder, parts, files }: Surroundings,
  file: string,
  bytes: Buffer,
  damaged: readonly (readonly [number, number])[],
): Promise<void> {
  const name = `${file}.corrupt`;
  const total = damaged.reduce((sum, [from, to]) => sum + to - from, 0);
  if (files.has(name)) return;
  let kept = 0;
  for (const [other, size] of files) if (other.endsWith(".corrupt")) kept += size;
  if (kept + total > parts.budget.limit) {
    parts.telemetry.damaged(client, `${folder.path}/${file}`, total, undefined);
    return;
  }
  try {
    const opened = await folder.create(name);
    try {
      await opened.write([...damaged.map(([from, to]) => bytes.subarray(from, to))], 0);
    } finally {
      await opened.close();
    }
  } catch (error) {
    await folder.remove(name).catch(() => {});
    parts.telemetry.warn("Damaged data cannot be set aside", { file: name, error });
    parts.telemetry.damaged(client, `${folder.path}/${file}`, total, undefined);
    return;
  }
  parts.telemetry.damaged(client, `${folder.path}/${file}`, total, `${folder.path}/${name}`);
}

/** Done files whose segments are gone. */
async function removeOrphans(
  folder: Folder,
  files: ReadonlyMap<string, number>,
  names: readonly SegmentName[],
): Promise<void> {
  const known = new Set(names.map(doneFile));
  for (const file of files.keys()) if (file.endsWith(".done") && !known.has(file)) await folder.remove(file);
}
