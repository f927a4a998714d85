/**
 * Which file is which. A name tells nothing (rotation gives it to another file), an inode little (it is used again
 * after a deletion, and copytruncate keeps it for new content), so a file is its device and inode together with its
 * first bytes. Pure.
 */
import type { FileFacts } from "./files.ts";

/** Device and inode as one key. */
export type FileKey = string;

export function fileKey(facts: Pick<FileFacts, "device" | "inode">): FileKey {
  return `${facts.device}:${facts.inode}`;
}

/** What is remembered of a file whose content is followed. */
export interface Followed {
  /** The first byte that was not handed on. */
  readonly offset: number;
  /** First bytes when last read, `fingerprint_size` of them at most. */
  readonly head: Uint8Array;
}

/**
 * Whether the file with this size and these first bytes still continues what was read. It does not when it is shorter
 * than what was read (`copytruncate`, `> file`), or begins otherwise: truncated and written anew between two looks,
 * perhaps to the same size, or another file on a reused inode.
 */
export function isContinued(followed: Followed, size: number, head: Uint8Array): boolean {
  return size >= followed.offset && hasStart(head, followed.head);
}

/** Whether `head` begins with `start`. */
export function hasStart(head: Uint8Array, start: Uint8Array): boolean {
  return head.length >= start.length && Buffer.compare(head.subarray(0, start.length), start) === 0;
}

/** First bytes of gzip, zstd, bzip2 and xz files. */
const COMPRESSED: readonly (readonly [name: string, magic: Uint8Array])[] = [
  ["gzip", Uint8Array.of(0x1f, 0x8b)],
  ["zstd", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd)],
  ["bzip2", Buffer.from("BZh")],
  ["xz", Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a)],
];

/** The name of the compression that a file with these first bytes has, so that logrotate's archives are not read as lines. */
export function compressionOf(head: Uint8Array): string | undefined {
  return COMPRESSED.find(([, magic]) => hasStart(head, magic))?.[0];
}
