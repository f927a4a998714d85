import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Program } from "../kit/process.ts";
import { find } from "./machine.ts";

/** What a container with systemd is given. */
export interface Boot {
  /** Shell script that runs as root once the basic system is up; the container goes down after it. */
  readonly script: string;
  /** Files and folders of this machine that it sees, read-only: path there -> path here. */
  readonly shared?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

const CHECK_TARGET = "[Unit]\nRequires=check.service basic.target\n";
const CHECK_SERVICE = `[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/bash -c '/bin/bash /check/script >/check/output 2>&1; echo $? >/check/code; systemctl --no-block exit'
`;

/**
 * Boots this machine's own file system under a real systemd in a container without network: an overlay in memory takes all that
 * is written, none of the machine's own services starts, and nothing is left behind.
 * @returns the script's output @throws when the container does not come up, or the script's exit code is not 0
 */
export async function boot({ script, shared = {}, timeoutMs }: Boot): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "omnishim-boot-"));
  const [memory, check] = [join(folder, "memory"), join(folder, "check")];
  const place = join(memory, "root");
  for (const path of [memory, check]) mkdirSync(path);
  chmodSync(folder, 0o755);
  writeFileSync(join(check, "script"), script);
  const mounted: string[] = [];
  const mount = (target: string, ...args: string[]): void => {
    execFileSync("mount", [...args, target], { stdio: ["ignore", "ignore", "pipe"] });
    mounted.unshift(target);
  };
  try {
    mount(memory, "-t", "tmpfs", "tmpfs");
    for (const name of ["root", "upper", "work"]) mkdirSync(join(memory, name));
    const layers = `lowerdir=/,upperdir=${join(memory, "upper")},workdir=${join(memory, "work")}`;
    mount(place, "-t", "overlay", "overlay", "-o", layers);
    const units = join(place, "etc/systemd/system");
    for (const name of ["etc/systemd/system", "etc/fstab"]) rmSync(join(place, name), { recursive: true, force: true });
    mkdirSync(units, { recursive: true });
    writeFileSync(join(units, "check.target"), CHECK_TARGET);
    writeFileSync(join(units, "check.service"), CHECK_SERVICE);
    const binds = Object.entries(shared).map(([there, here]) => `--bind-ro=${here}:${there}`);
    const container = new Program("systemd-nspawn", [
      ...["--quiet", "--directory", place, "--register=no", "--keep-unit", "--link-journal=no", "--private-network"],
      ...["--console=pipe", `--bind=${check}:/check`, ...binds, "--boot", "systemd.unit=check.target"],
    ]);
    try {
      await container.exit(timeoutMs);
    } finally {
      await container.stop("SIGTERM", 20_000);
    }
    const read = (name: string): string =>
      existsSync(join(check, name)) ? readFileSync(join(check, name), "utf8") : "";
    if (read("code").trim() !== "0")
      throw new Error(
        `exit code ${read("code").trim() || "none"}:\n${read("output") || container.output.slice(-2000)}`,
      );
    return read("output");
  } finally {
    for (const target of mounted) execFileSync("umount", [target]);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Why no systemd can be booted here, or undefined: an empty container is tried. */
export async function missingSystemd(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "a container with systemd needs root";
  if (find("systemd-nspawn") === undefined)
    return "systemd-nspawn: not installed (on Debian: apt-get install systemd-container)";
  if (!["/lib/systemd/systemd", "/usr/lib/systemd/systemd"].some((path) => existsSync(path)))
    return "systemd: not installed";
  try {
    await boot({ script: "systemctl is-active basic.target", timeoutMs: 30_000 });
    return undefined;
  } catch (error) {
    return `systemd does not come up in a container: ${(error as Error).message.split("\n").slice(0, 3).join(" ")}`;
  }
}
