/** Names that `omnishim collect` gives besides those of logs. */

/** Behind the name of a file that is not whole yet. */
export const PART = ".omnishim-part";

/** The file that tells what was collected of a host, and its clock; `label` names the host. */
export function recordName(label: string): string {
  return `collect_${label}.json`;
}

/** True for the name of a record, without folders. */
export function isRecordName(name: string): boolean {
  return /^collect_.+\.json$/.test(name);
}
