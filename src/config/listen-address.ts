/** Listening addresses as the file writes them: pure text, nothing is looked up or bound. */
import { isIPv6 } from "node:net";

/** Where a server listens: `host` as written ("" and wildcards mean every interface), or the path of a Unix socket ("@name" is a Linux abstract one). */
export type ListenAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** confignet's transports that a stream server can have. */
export const listenTransports = ["tcp", "tcp4", "tcp6", "unix"] as const;
export type ListenTransport = (typeof listenTransports)[number];

/**
 * Reads "localhost:4317", "0.0.0.0:4318", ":8888", "[::1]:4317", "unix:///path" (or a path with transport "unix").
 * @returns the address, or a string that says what is wrong and what was wanted.
 */
export function parseListenAddress(endpoint: string, transport: ListenTransport = "tcp"): ListenAddress | string {
  const text = endpoint.trim();
  if (transport === "unix" || text.startsWith("unix:")) {
    const path = text.replace(/^unix:(?:\/\/)?/, "");
    if (path === "" || path === "@") return `address ${JSON.stringify(endpoint)}: missing the path of the Unix socket`;
    // sun_path holds 108 bytes, the last one a NUL.
    if (Buffer.byteLength(path) > 107)
      return `address ${JSON.stringify(endpoint)}: a Unix socket path has at most 107 bytes`;
    return { kind: "unix", path };
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    return `address ${endpoint}: a server's endpoint is host:port without "${text.slice(0, text.indexOf("://") + 3)}"`;
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):([^:]*)$/.exec(text);
  if (!match) {
    const problem = /^(?:\[[^\]]*\]|[^:]*)$/.test(text) ? "missing port in address" : "too many colons in address";
    return `address ${endpoint}: ${problem}; write host:port, with an IPv6 host in brackets ("[::1]:4317")`;
  }
  const [, bracketed, plain, portText = ""] = match;
  const host = bracketed ?? plain ?? "";
  if (bracketed !== undefined && !isIPv6(bracketed))
    return `address ${endpoint}: [${bracketed}] is not an IPv6 address`;
  if (!/^\d{1,5}$/.test(portText) || Number(portText) > 65_535)
    return `address ${endpoint}: invalid port ${JSON.stringify(portText)}, expected 0 to 65535`;
  return { kind: "tcp", host, port: Number(portText) };
}

/** "localhost:4317", "[::1]:4317", ":8888" or "unix:/path". */
export function formatListenAddress(address: ListenAddress): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return `${isIPv6(address.host) ? `[${address.host}]` : address.host}:${address.port}`;
}
