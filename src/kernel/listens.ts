/** Which listening addresses cannot both be bound. */

/** An address that a component will bind, and the setting it is from. */
export interface Listen {
  readonly path: readonly string[];
  /** "host:port" or "unix:/path". */
  readonly address: string;
}

/** Pairs that want the same port of the same address; the later one second. Port 0 is any free port. */
export function clashes<L extends Listen>(listens: readonly L[]): [L, L][] {
  const found: [L, L][] = [];
  for (const [index, second] of listens.entries())
    for (const first of listens.slice(0, index))
      if (overlap(first.address, second.address)) found.push([first, second]);
  return found;
}

function overlap(a: string, b: string): boolean {
  if (a.startsWith("unix:") || b.startsWith("unix:")) return a === b;
  const [hostA, portA] = split(a);
  const [hostB, portB] = split(b);
  return portA === portB && Number(portA) !== 0 && (hostA === hostB || hostA === "*" || hostB === "*");
}

function split(address: string): [host: string, port: string] {
  const colon = address.lastIndexOf(":");
  const host = address
    .slice(0, colon)
    .replace(/^\[(.*)\]$/, "$1")
    .toLowerCase();
  const port = String(Number(address.slice(colon + 1)));
  if (host === "" || host === "0.0.0.0" || host === "::") return ["*", port];
  return [host === "localhost" ? "127.0.0.1" : host, port];
}
