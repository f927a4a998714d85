/** Limits, disks and certificate files of this machine. */
import { X509Certificate } from "node:crypto";
import { constants } from "node:fs";
import { access, readdir, readFile, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ConfigNode } from "../../config/node.ts";
import type { Plan } from "../../kernel/plan.ts";
import type { CertificateFacts, HostFacts, QueueFacts } from "../facts.ts";

/** What of the file system the disk check asks; tests give their own. */
export interface DiskAccess {
  /** @throws NodeJS.ErrnoException as statfs(2) */
  space(folder: string): Promise<{ readonly freeBytes: number; readonly freeInodes: number | undefined }>;
}

/** The machine's own disks. */
export const nodeDisk: DiskAccess = {
  async space(folder) {
    const { bavail, bsize, files, ffree } = await statfs(folder);
    // btrfs and some network file systems count no inodes.
    return { freeBytes: bavail * bsize, freeInodes: files === 0 ? undefined : ffree };
  },
};

/** @param pid of the running program, whose limits count; undefined for this process's */
export async function probeHost(pid: number | undefined, oldestNode: string, proc = "/proc"): Promise<HostFacts> {
  const limits = await readFile(`${proc}/${pid ?? "self"}/limits`, "utf8").catch(() => "");
  const [, soft] = /^Max open files +(\S+)/m.exec(limits) ?? [];
  return {
    nodeVersion: process.versions.node,
    oldestNode,
    openFiles: soft === undefined ? undefined : soft === "unlimited" ? Number.MAX_SAFE_INTEGER : Number(soft),
    openFilesOf: pid === undefined ? "a program started from here" : `omnishim (pid ${pid})`,
  };
}

/** The folder of every file_storage that runs. */
export async function probeQueues(plan: Plan, disk: DiskAccess): Promise<QueueFacts[]> {
  const facts: QueueFacts[] = [];
  for (const id of plan.enabledExtensions) {
    const planned = plan.extensions.get(id);
    if (planned?.factory.type !== "file_storage") continue;
    const config = planned.configured.effective as {
      directory: string;
      max_size_mib: number;
      create_directory: boolean;
    };
    const folder = config.create_directory ? await nearest(config.directory) : config.directory;
    const code = await access(folder, constants.W_OK | constants.X_OK).then(() => "", codeOf);
    const space = await disk.space(folder).catch(() => undefined);
    facts.push({
      path: ["extensions", id, "directory"],
      directory: config.directory,
      code,
      freeBytes: space?.freeBytes,
      freeInodes: space?.freeInodes,
      wantedBytes: Math.max(0, config.max_size_mib * 1024 * 1024 - (await bytesIn(config.directory))),
    });
  }
  return facts;
}

function codeOf(error: NodeJS.ErrnoException): string {
  return error.code ?? error.message;
}

/** The folder, or the nearest one above it that exists: where it will be made. */
async function nearest(folder: string): Promise<string> {
  for (let at = folder; ; at = dirname(at)) {
    const found = await stat(at).catch(() => undefined);
    if (found || dirname(at) === at) return at;
  }
}

async function bytesIn(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map((entry) =>
      stat(join(entry.parentPath, entry.name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

const FILE_KEYS = new Set(["ca_file", "cert_file", "key_file", "client_ca_file"]);
const DAY_MS = 86_400_000;

/** Every file that a section `tls` of a component that runs names. */
export async function probeCertificates(plan: Plan, root: ConfigNode, nowMs: number): Promise<CertificateFacts[]> {
  const used = new Set([
    ...plan.pipelines.flatMap(({ receivers, exporters }) => [...receivers, ...exporters]),
    ...plan.enabledExtensions,
  ]);
  const named: { path: string[]; file: string }[] = [];
  const visit = (node: ConfigNode, path: string[], inTls: boolean): void => {
    if (node.kind === "list") {
      for (const [index, item] of node.items.entries()) visit(item, [...path, String(index)], false);
    } else if (node.kind === "map") {
      for (const [key, entry] of node.entries) {
        const isComponent = path.length === 1 && path[0] !== "service";
        if (!isComponent || used.has(key.trim())) visit(entry.node, [...path, key], key === "tls");
      }
    } else if (inTls || FILE_KEYS.has(path.at(-1) ?? "")) {
      if (FILE_KEYS.has(path.at(-1) ?? "") && typeof node.value === "string" && node.value !== "")
        named.push({ path, file: node.value });
    }
  };
  visit(root, [], false);
  return Promise.all(
    named.map(async ({ path, file }) => {
      try {
        return { path, file, code: "", daysLeft: daysLeft(await readFile(file, "utf8"), nowMs) };
      } catch (error) {
        return { path, file, code: codeOf(error as NodeJS.ErrnoException), daysLeft: undefined };
      }
    }),
  );
}

function daysLeft(pem: string, nowMs: number): number | undefined {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  const left = blocks.flatMap((block) => {
    try {
      return [(Date.parse(new X509Certificate(block).validTo) - nowMs) / DAY_MS];
    } catch {
      return [];
    }
  });
  return left.length === 0 ? undefined : Math.min(...left);
}
