/**
 * Where listening addresses bind, who can reach them, and an error that a person can act on when they cannot be bound. Behaviour follows Go's net.Listen, which the Collector uses.
 */
import { lookup } from "node:dns/promises";
import { lstat, unlink } from "node:fs/promises";
import { type AddressInfo, connect, isIP, isIPv6, type Server } from "node:net";
import { formatListenAddress, type ListenAddress, type ListenTransport } from "../config/listen-address.ts";
import { describeHolder, findHolder } from "./holder.ts";

/** The variable that moves servers without an `endpoint` in the file off localhost; a container image sets it to 0.0.0.0. */
export const LISTEN_HOST_VARIABLE = "OMNISHIM_LISTEN_HOST";

/**
 * The endpoint of a server whose section has none: `localhost:port` (the Collector's since 0.104), or the host of
 * OMNISHIM_LISTEN_HOST. An endpoint in the file always wins.
 */
export function defaultEndpoint(port: number, env: Readonly<Record<string, string | undefined>> = process.env): string {
  return formatListenAddress({ kind: "tcp", host: listenHost(env) ?? "localhost", port });
}

/** The host of the variable without brackets; undefined when it is not set. */
function listenHost(env: Readonly<Record<string, string | undefined>>): string | undefined {
  return env[LISTEN_HOST_VARIABLE]?.trim().replace(/^\[(.*)\]$/, "$1") || undefined;
}

/** What is wrong with OMNISHIM_LISTEN_HOST; undefined when nothing is. */
export function listenHostProblem(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const host = env[LISTEN_HOST_VARIABLE]?.trim() || "localhost";
  if (isIPv6(listenHost(env) ?? "") || /^[^\s:/[\]]+$/.test(host)) return undefined;
  return `environment variable ${LISTEN_HOST_VARIABLE}: ${JSON.stringify(host)} is not a host: write an address or a name without a port, such as 0.0.0.0, localhost or ::1`;
}

/** A bound server. */
export interface Bound {
  /** What was really bound: "127.0.0.1:4317", "[::]:4318", "unix:/path". */
  readonly address: string;
  /** 0 for a Unix socket. */
  readonly port: number;
  /** Who can reach it, in words for the start-up log: "only this machine can reach it". */
  readonly reach: string;
}

/** A server could not be bound; the message names address, cause, holder and the key to change. */
export class ListenError extends Error {
  /** The system's code: "EADDRINUSE", "EACCES", "EADDRNOTAVAIL", "ENOTFOUND" ... */
  readonly code: string;

  constructor(message: string, code: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ListenError";
    this.code = code;
  }
}

/**
 * Binds `server`. A host name binds its first IPv4 address, or the first of all where it has none: "localhost" is
 * 127.0.0.1, and ::1 only where there is no IPv4. "", "0.0.0.0" and "::" bind IPv4 and IPv6 alike where the machine
 * has both. All of this is what Go's net.Listen does. A socket file that nobody listens on is replaced.
 * @param key the setting to name in errors, as the file has it: "receivers::otlp::protocols::grpc::endpoint".
 * @throws ListenError
 */
export async function listen(
  server: Server,
  address: ListenAddress,
  key: string,
  transport: ListenTransport = "tcp",
): Promise<Bound> {
  return address.kind === "unix" ? listenUnix(server, address.path, key) : listenTcp(server, address, key, transport);
}

type TcpAddress = Extract<ListenAddress, { kind: "tcp" }>;

async function listenTcp(server: Server, address: TcpAddress, key: string, transport: ListenTransport): Promise<Bound> {
  const { host, port } = address;
  try {
    const wildcard = host === "" || host === "0.0.0.0" || host === "::";
    if (!wildcard) await bind(server, { host: await resolve(address, key, transport), port });
    else if (transport === "tcp4") await bind(server, { host: "0.0.0.0", port });
    else
      await bind(server, { host: "::", port, ipv6Only: transport === "tcp6" }).catch((error: NodeJS.ErrnoException) => {
        if (transport === "tcp6" || (error.code !== "EAFNOSUPPORT" && error.code !== "EADDRNOTAVAIL")) throw error;
        return bind(server, { host: "0.0.0.0", port });
      });
  } catch (error) {
    throw await tcpError(address, key, error);
  }
  const bound = server.address() as AddressInfo;
  return {
    address: formatListenAddress({ kind: "tcp", host: bound.address, port: bound.port }),
    port: bound.port,
    reach: reachOf(bound.address),
  };
}

async function resolve(address: TcpAddress, key: string, transport: ListenTransport): Promise<string> {
  const { host } = address;
  if (isIP(host)) return host;
  const family = transport === "tcp4" ? 4 : transport === "tcp6" ? 6 : 0;
  const found = await lookup(host, { all: true, family }).catch((error: NodeJS.ErrnoException) => {
    // A machine without /etc/hosts has a loopback address all the same (RFC 6761, section 6.3).
    if (host === "localhost" && family !== 6) return [{ address: "127.0.0.1", family: 4 }];
    throw new ListenError(
      `listen tcp: lookup ${host}: no such host; ${hostAdvice(host, key)}`,
      error.code ?? "ENOTFOUND",
      error,
    );
  });
  return (found.find((entry) => entry.family === 4) ?? found[0])?.address ?? host;
}

/** Whether the file or the environment has named a host cannot be told from the host alone; when both may have, both are named. */
function hostAdvice(host: string, key: string): string {
  return host === listenHost(process.env)
    ? `the host is that of the environment variable ${LISTEN_HOST_VARIABLE}; change that, or give ${key} a host of its own`
    : `change the host of ${key}`;
}

/** Who can reach a bound IP address, as a sentence. */
export function reachOf(ip: string): string {
  if (ip === "::") return "reachable on every network interface, over IPv4 and IPv6";
  if (ip === "0.0.0.0") return "reachable on every network interface, over IPv4";
  if (ip === "::1" || ip.startsWith("127.")) return "only this machine can reach it";
  return `reachable by whoever can reach ${ip}`;
}

const BIND_PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: "address already in use",
  EACCES: "permission denied",
  EADDRNOTAVAIL: "cannot assign requested address",
  EAFNOSUPPORT: "address family not supported by protocol",
};

async function tcpError(address: TcpAddress, key: string, error: unknown): Promise<ListenError> {
  if (error instanceof ListenError) return error;
  const { code = "", message, address: tried } = error as NodeJS.ErrnoException & { address?: string };
  const { port } = address;
  // Go names the address as written when it is a wildcard, else the resolved one.
  const shown = formatListenAddress({ kind: "tcp", host: tried && tried !== "::" ? tried : address.host, port });
  const problem = `listen tcp ${shown}: bind: ${BIND_PROBLEMS[code] ?? message}`;
  if (code === "EADDRINUSE") {
    const holder = describeHolder(await findHolder(port), port);
    return new ListenError(`${problem}; ${holder}; stop it or give ${key} another port`, code, error);
  }
  if (code === "EACCES" && port < 1024)
    return new ListenError(
      `${problem}; ports below 1024 need CAP_NET_BIND_SERVICE; give ${key} a port above`,
      code,
      error,
    );
  if (code === "EADDRNOTAVAIL")
    return new ListenError(
      `${problem}; this machine has no such address; ${hostAdvice(address.host, key)}`,
      code,
      error,
    );
  return new ListenError(`${problem}; change ${key}`, code, error);
}

async function listenUnix(server: Server, path: string, key: string): Promise<Bound> {
  const abstract = path.startsWith("@");
  const target = abstract ? `\0${path.slice(1)}` : path;
  try {
    if (!abstract) await removeStale(path, key);
    await bind(server, { path: target });
  } catch (error) {
    if (error instanceof ListenError) throw error;
    const { code = "", message } = error as NodeJS.ErrnoException;
    throw new ListenError(`listen unix ${path}: bind: ${BIND_PROBLEMS[code] ?? message}; change ${key}`, code, error);
  }
  return {
    address: `unix:${path}`,
    port: 0,
    reach: abstract
      ? "only this machine can reach it"
      : "only this machine can reach it, as far as the file's permissions allow",
  };
}

/** A socket file outlives a killed process. It is removed when a connection to it is refused, never when it answers. */
async function removeStale(path: string, key: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found) return;
  if (!found.isSocket())
    throw new ListenError(
      `listen unix ${path}: bind: address already in use; the file is not a socket; remove it or change ${key}`,
      "EADDRINUSE",
    );
  const answer = await new Promise<string>((resolve) => {
    const probe = connect(path);
    probe
      .once("connect", () => resolve("connected"))
      .once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
    probe.once("connect", () => probe.destroy());
  });
  if (answer === "ECONNREFUSED") await unlink(path);
  else if (answer === "connected")
    throw new ListenError(
      `listen unix ${path}: bind: address already in use; another process listens on it; stop it or change ${key}`,
      "EADDRINUSE",
    );
}

function bind(
  server: Server,
  options: { host?: string; port?: number; path?: string; ipv6Only?: boolean },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => {
      server.off("listening", onListening);
      reject(error);
    };
    const onListening = (): void => {
      server.off("error", onError);
      resolve();
    };
    server.once("error", onError).once("listening", onListening).listen(options);
  });
}
