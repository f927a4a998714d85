const COMPRESSED = /\.(?:gz|xz|zst|bz2)$/;
const ROTATED = /(?:\.\d{1,4}|[-.]\d{8}(?:[-.]?\d{2,6})?)$/;

/** A log's path without what rotation and compression put behind it: nginx_error.log.1, access.log-20261122, error.log.2.gz. */
export function withoutRotation(path: string): string {
  return path.replace(COMPRESSED, "").replace(ROTATED, "");
}
