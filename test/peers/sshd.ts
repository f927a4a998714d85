/** Real OpenSSH servers on 127.0.0.1, each with a configuration, a host key and a port of its own. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { accepts, freePorts, Program } from "../kit/process.ts";

/** sshd has to be called by its whole path, and is not in everybody's PATH. */
const SSHD = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/opt/homebrew/sbin/sshd"].find((path) => existsSync(path));

/** Why there is none; undefined where there is one. */
export const noSshd =
  SSHD === undefined ? "sshd: not installed (Debian: openssh-server), so collect is not tested" : undefined;

/** A running server. */
export class SshServer {
  readonly port: number;
  /** The line that known_hosts has of it. */
  readonly knownHost: string;
  readonly #program: Program;

  private constructor(port: number, knownHost: string, program: Program) {
    this.port = port;
    this.knownHost = knownHost;
    this.#program = program;
  }

  /** `authorized`: public keys that may log in. `path`: PATH of what runs there. */
  static async start(folder: string, name: string, authorized: string, path: string): Promise<SshServer> {
    // As root, sshd wants the folder that its service unit makes.
    if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
    const [port] = (await freePorts(1)) as [number];
    const hostKey = makeKey(folder, `${name}-host-key`);
    const authorizedPath = join(folder, `${name}-authorized`);
    writeFileSync(authorizedPath, authorized, { mode: 0o600 });
    const config = join(folder, `${name}-sshd.conf`);
    writeFileSync(
      config,
      `Port ${port}
ListenAddress 127.0.0.1
HostKey ${hostKey}
PidFile none
AuthorizedKeysFile ${authorizedPath}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv PATH=${path}
`,
    );
    const program = new Program(SSHD as string, ["-D", "-e", "-f", config]);
    try {
      await accepts(port, program);
    } catch (error) {
      await program.stop();
      throw error;
    }
    return new SshServer(port, `[127.0.0.1]:${port} ${publicKey(hostKey)}\n`, program);
  }

  async stop(): Promise<void> {
    await this.#program.stop();
  }
}

/** Makes a key pair. @returns the private key's path */
export function makeKey(folder: string, name: string): string {
  const path = join(folder, name);
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path]);
  return path;
}

/** A key's type and public half, without its comment. */
export function publicKey(path: string): string {
  return readFileSync(`${path}.pub`, "utf8").trim().split(" ").slice(0, 2).join(" ");
}
