/** Node, limits, disk, certificates. */
import type { CertificateFacts, HostFacts, QueueFacts } from "../facts.ts";
import type { Draft } from "../finding.ts";
import { bytesText } from "../words.ts";

/** Connections, log files, queue segments and sockets to backends of a small set-up, with room for a burst. */
const FEWEST_OPEN_FILES = 1024;
/** What deploy/systemd/omnishim.service gives. */
const GOOD_OPEN_FILES = 65_536;
/** Less is as good as full: one large batch fits. */
const LEAST_BYTES = 64 * 1024 * 1024;
/** Segments, temporary files and the lock. */
const LEAST_INODES = 100;
/** Certificates that end sooner are said in time to renew them. */
const SOON_DAYS = 14;

export function checkNode({ nodeVersion, oldestNode }: HostFacts): Draft {
  const isOld = compareVersions(nodeVersion, oldestNode) < 0;
  return {
    check: "node-version",
    severity: isOld ? "error" : "ok",
    found: `Node ${nodeVersion}`,
    ...(isOld ? { wanted: `Node ${oldestNode} or newer`, change: `install Node ${oldestNode} or newer` } : {}),
  };
}

function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split(".").map((part) => Number.parseInt(part, 10) || 0));
  for (let at = 0; at < 3; at++) {
    const difference = (left?.[at] ?? 0) - (right?.[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

export function checkOpenFiles({ openFiles, openFilesOf }: HostFacts): Draft {
  if (openFiles === undefined)
    return {
      check: "open-files",
      severity: "note",
      found: `the file-descriptor limit of ${openFilesOf} cannot be seen`,
    };
  const found = `${openFilesOf} may have ${openFiles} files and connections open`;
  if (openFiles >= FEWEST_OPEN_FILES) return { check: "open-files", severity: "ok", found };
  return {
    check: "open-files",
    severity: "error",
    found,
    wanted: `at least ${FEWEST_OPEN_FILES}: every connection, log file and queue segment is one`,
    change: `LimitNOFILE=${GOOD_OPEN_FILES} in the systemd unit, --ulimit nofile=${GOOD_OPEN_FILES} for docker, ulimit -n ${GOOD_OPEN_FILES} in a shell`,
  };
}

export function checkQueue(queue: QueueFacts): Draft {
  const { path, directory, code, freeBytes, freeInodes, wantedBytes } = queue;
  const base = { check: "queue-disk", path } as const;
  if (code !== "")
    return {
      ...base,
      severity: "error",
      found: `${directory} cannot be written to (${code})`,
      wanted: "a folder that the user who runs omnishim can write to",
      change: `${path.join("::")}: another folder, or chown this one`,
    };
  if (freeInodes !== undefined && freeInodes < LEAST_INODES)
    return {
      ...base,
      severity: "error",
      found: `the file system of ${directory} has room for ${freeInodes} more files (inodes)`,
      wanted: `room for ${LEAST_INODES}`,
      change: `${path.join("::")}: a folder on another file system, or remove small files there`,
    };
  if (freeBytes === undefined)
    return { ...base, severity: "note", found: `how full the file system of ${directory} is cannot be seen` };
  const found = `${directory} has room for ${bytesText(freeBytes)}`;
  if (freeBytes < Math.min(LEAST_BYTES, wantedBytes))
    return {
      ...base,
      severity: "error",
      found: `${found}: the disk is full`,
      wanted: `${bytesText(wantedBytes)}, what the queue may still grow by (max_size_mib)`,
      change: `${path.join("::")}: a folder on another file system, or make room on this one`,
    };
  if (freeBytes < wantedBytes)
    return {
      ...base,
      severity: "warning",
      found,
      wanted: `${bytesText(wantedBytes)}, what the queue may still grow by (max_size_mib)`,
      change: `${[...path.slice(0, -1), "max_size_mib"].join("::")}: ${Math.max(1, Math.floor(freeBytes / 2 / 1024 / 1024))}, or ${path.join("::")}: a folder with more room`,
    };
  return { ...base, severity: "ok", found: `${found}, the queue may take ${bytesText(wantedBytes)}` };
}

export function checkCertificate({ path, file, code, daysLeft }: CertificateFacts): Draft {
  const base = { check: "tls-certificate", path } as const;
  if (code !== "")
    return {
      ...base,
      severity: "error",
      found: `${file} cannot be read (${code})`,
      wanted: "a file that the user who runs omnishim can read",
      change: `${path.join("::")}: the right path, or chmod the file`,
    };
  if (daysLeft === undefined || daysLeft >= SOON_DAYS)
    return {
      ...base,
      severity: "ok",
      found: `${file} can be read${daysLeft === undefined ? "" : ` and is valid for ${Math.floor(daysLeft)} days`}`,
    };
  const isOver = daysLeft < 0;
  return {
    ...base,
    severity: isOver ? "error" : "warning",
    found: isOver
      ? `the certificate in ${file} has expired`
      : `the certificate in ${file} expires within ${Math.ceil(daysLeft)} days`,
    wanted: "a certificate that is valid",
    change: `renew ${file}, or ${path.join("::")}: another one`,
  };
}
