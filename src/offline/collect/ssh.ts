/** The system's ssh: how it is called, and what its messages mean. */
import { printable } from "../../omni/text.ts";
import { REMOTE_COMMAND } from "./remote-script.ts";
import type { Server } from "./server-list.ts";

/** How hosts are reached. What is undefined is as ssh's own configuration has it. */
export interface SshOptions {
  readonly user: string | undefined;
  readonly port: number | undefined;
  /** A private key's path. */
  readonly identity: string | undefined;
  /** `[user@]host[:port]`, one or more with commas between. */
  readonly jump: string | undefined;
  /** In place of ~/.ssh/config. */
  readonly configFile: string | undefined;
  readonly connectTimeoutMs: number;
}

/** Unanswered signs of life, this far apart, after which ssh gives a connection up. */
const ALIVE_SECONDS = 15;
const ALIVE_COUNT = 4;

/**
 * Arguments for ssh. Its configuration, known_hosts and agent count as ever; host keys are checked as it says. It never
 * asks anything, forwards nothing, and starts no session that would outlive this one.
 */
export function sshArguments(server: Server, options: SshOptions): string[] {
  const user = server.user ?? options.user;
  const port = server.port ?? options.port;
  const set = (name: string, value: string): string[] => ["-o", `${name}=${value}`];
  return [
    ...(options.configFile === undefined ? [] : ["-F", options.configFile]),
    ...["-T", "-a", "-x"],
    ...set("BatchMode", "yes"),
    ...set("ConnectTimeout", String(Math.max(1, Math.ceil(options.connectTimeoutMs / 1000)))),
    ...set("ServerAliveInterval", String(ALIVE_SECONDS)),
    ...set("ServerAliveCountMax", String(ALIVE_COUNT)),
    ...set("ClearAllForwardings", "yes"),
    ...set("ControlMaster", "no"),
    ...set("RemoteCommand", "none"),
    ...set("LogLevel", "ERROR"),
    ...(options.identity === undefined ? [] : ["-i", options.identity, ...set("IdentitiesOnly", "yes")]),
    ...(options.jump === undefined ? [] : ["-J", options.jump]),
    ...(user === undefined ? [] : ["-l", user]),
    ...(port === undefined ? [] : ["-p", String(port)]),
    "--",
    server.host,
    REMOTE_COMMAND,
  ];
}

/** What went wrong, in one line, and what to do about it, from what ssh said and how it ended. */
export function explainFailure(messages: string, ending: string, server: Server): string {
  const lines = messages
    .split("\n")
    .map((line) => printable(line.trim()))
    .filter((line) => line !== "");
  const changed = lines.some((line) => line.includes("REMOTE HOST IDENTIFICATION HAS CHANGED"));
  if (changed) return changedKey(lines, server);
  const unknown = lines.find((line) => /^No \S+ host key is known for /.test(line));
  if (unknown !== undefined || lines.some((line) => line === "Host key verification failed."))
    return `its host key is not known; compare its fingerprint with that of the host, then connect once by hand: ssh ${handCommand(server)}`;
  const denied = lines.find((line) => /Permission denied \(/.test(line));
  if (denied !== undefined)
    return `${denied}; nothing is ever asked for here: give a key with --identity, or let the agent or ~/.ssh/config have one`;
  return lines.length > 0 ? listed(lines) : ending;
}

/** A key that is not the one that is known: said plainly, and what to do once it is known to be right. */
function changedKey(lines: readonly string[], server: Server): string {
  const text = lines.join("\n");
  const name = /^Host key for (\S+) has changed/m.exec(text)?.[1] ?? bracketed(server);
  const file = /^Offending \S+ key in (.+):\d+$/m.exec(text)?.[1];
  const fingerprint = /^(SHA256:\S+?)\.?$/m.exec(text)?.[1];
  const where = file === undefined ? "" : ` -f '${file.replaceAll("'", "'\\''")}'`;
  return `its host key has changed${fingerprint === undefined ? "" : ` (now ${fingerprint})`}, so nothing was fetched: somebody may be in between. If the host has a new key indeed: ssh-keygen${where} -R '${name}'`;
}

function bracketed({ host, port }: Server): string {
  return port === undefined || port === 22 ? host : `[${host}]:${port}`;
}

function handCommand({ host, user, port }: Server): string {
  return `${port === undefined ? "" : `-p ${port} `}${user === undefined ? "" : `${user}@`}${host}`;
}

/** The last messages tell; what comes before is about it. */
function listed(lines: readonly string[]): string {
  return lines.slice(-3).join("; ");
}
