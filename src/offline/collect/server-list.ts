/** The server list: a host a line, and what may stand in it. */
import { printable } from "../../omni/text.ts";
import { Problem } from "../problem.ts";

/** One host to collect from. */
export interface Server {
  /** As given to ssh: a name of its configuration, a DNS name or an address. */
  readonly host: string;
  readonly user: string | undefined;
  readonly port: number | undefined;
  /** Names its files: the host, with the port behind it where the list has the host more than once. */
  readonly label: string;
}

/** Longer lists are a mistake, such as a log given for the list. */
const MOST_LINE = 512;

/** A host name or IPv4 address: nothing that ssh, a shell or a path could take for something else. */
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})$/;
const IPV6 = /^[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f.]{0,15}){2,8}(?:%[A-Za-z0-9]{1,15})?$/;
const USER = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/;

/**
 * Reads a list: `[user@]host[:port]` a line, IPv6 addresses bare or in brackets; blank lines and what follows a # do not
 * count, a host that comes twice counts once. @throws Problem with every line that is wrong
 */
export function parseServerList(text: string, path: string): Server[] {
  const found = new Map<string, Omit<Server, "label">>();
  const wrong: string[] = [];
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.replace(/#.*$/, "").trim();
    if (line === "") continue;
    const server = line.length > MOST_LINE ? undefined : parseAddress(line);
    if (server) found.set(`${server.user ?? ""}@${server.host}:${server.port ?? ""}`, server);
    else wrong.push(`${path}:${index + 1}: "${printable(line.slice(0, 60))}"`);
  }
  if (wrong.length > 0)
    throw new Problem(
      `${wrong.slice(0, 5).join("\n")}\n${wrong.length === 1 ? "is" : `and ${wrong.length} lines in all are`} no server: a line has [user@]host or [user@]host:port, such as 10.0.0.1`,
    );
  if (found.size === 0) throw new Problem(`${path}: no server in it; write one [user@]host a line`);
  return labelled([...found.values()], path);
}

/** `[user@]host[:port]`; undefined where it is something else. */
export function parseAddress(text: string): Omit<Server, "label"> | undefined {
  const at = text.lastIndexOf("@");
  const user = at < 0 ? undefined : text.slice(0, at);
  const rest = text.slice(at + 1);
  if (user !== undefined && !isUser(user)) return undefined;
  if (IPV6.test(rest)) return { host: rest, user, port: undefined };
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(rest) ?? [];
  const host = bracketed ?? plain ?? "";
  if (bracketed === undefined ? !NAME.test(host) : !IPV6.test(host)) return undefined;
  const port = digits === undefined ? undefined : Number(digits);
  return port === undefined || (port >= 1 && port <= 65_535) ? { host, user, port } : undefined;
}

/** True for what may be a user's name at the other side. */
export function isUser(text: string): boolean {
  return USER.test(text);
}

function labelled(servers: readonly Omit<Server, "label">[], path: string): Server[] {
  const times = new Map<string, number>();
  for (const { host } of servers) times.set(host, (times.get(host) ?? 0) + 1);
  const labels = new Set<string>();
  return servers.map((server) => {
    const { host, port } = server;
    const label = times.get(host) === 1 ? host : `${host}_${port ?? 22}`;
    if (labels.has(label))
      throw new Problem(`${path}: ${label} comes more than once, with different users; leave one of them`);
    labels.add(label);
    return { ...server, label };
  });
}
