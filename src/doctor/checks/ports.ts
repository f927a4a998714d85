/** Ports, who can reach them, and what vLLM on this machine sends to them. */
import type { HolderFacts, PortFacts, SenderFacts } from "../facts.ts";
import type { Draft } from "../finding.ts";
import { listText } from "../words.ts";

export function checkPort(port: PortFacts): Draft {
  const { path, address, use, state } = port;
  const key = path.join("::");
  // The program runs without its metrics page.
  const severity = use === "metrics" ? "warning" : "error";
  switch (state.kind) {
    case "free":
      return { check: "port-taken", severity: "ok", found: `${address} is free`, path };
    case "ours":
      return {
        check: "port-taken",
        severity: "ok",
        found: `${address} is held by the omnishim that runs${state.pid === undefined ? "" : ` (pid ${state.pid})`}`,
        path,
      };
    case "taken":
      return {
        check: "port-taken",
        severity,
        found: `${address} is held by ${holderText(state.holder, port.port)}`,
        wanted: "a free port, or omnishim itself there",
        change: changeOf(port, key, state.holder),
        path,
      };
    case "unusable":
      return {
        check: "port-unusable",
        severity,
        found: state.problem,
        wanted: "an address of this machine and a port that may be bound",
        change: `${key}: localhost:${port.port === 0 ? "PORT" : port.port}`,
        path,
      };
  }
}

function holderText(holder: HolderFacts | undefined, port: number): string {
  if (holder) return `pid ${holder.pid}${holder.command === "" ? "" : ` (${holder.command})`}`;
  return `another process (as root, ss -ltnp 'sport = :${port}' names it)`;
}

function changeOf({ port, use }: PortFacts, key: string, holder: HolderFacts | undefined): string {
  // Below 10000 the tens of thousands are free, as in docs/native-jaeger.md: 4317 -> 14317.
  const other = port < 10_000 ? port + 10_000 : port + 1;
  const stop = holder ? `stop pid ${holder.pid}` : "stop that process";
  const move = use === "metrics" && key.endsWith("::port") ? `${key}: ${other}` : `${key}: localhost:${other}`;
  return use === "otlp"
    ? `${stop}, or ${move} and the same port in vLLM's --otlp-traces-endpoint`
    : `${stop}, or ${move}`;
}

/** OTLP ports that only this machine can reach, while vLLM runs on another one. */
export function checkBindAddresses(ports: readonly PortFacts[], senders: readonly SenderFacts[]): Draft[] {
  const otlp = ports.filter(({ use }) => use === "otlp");
  const remote = senders.filter(({ isLocal }) => isLocal === false);
  const unknown = senders.filter(({ isLocal }) => isLocal === undefined);
  const drafts: Draft[] = unknown.map(({ host, from }) => ({
    check: "bind-address",
    severity: "note",
    found: `${host} (${from}) is not known to the name service, so whether it is another machine cannot be told`,
  }));
  if (otlp.length === 0) return drafts;
  const closed = otlp.filter(({ isLoopback }) => isLoopback);
  if (remote.length === 0 || closed.length === 0) {
    const who = remote.length > 0 ? listText(remote.map(({ host }) => host)) : "this machine";
    return [
      ...drafts,
      ...(senders.length > unknown.length
        ? [{ check: "bind-address", severity: "ok", found: `vLLM on ${who} can reach the OTLP ports` } as const]
        : []),
    ];
  }
  const where = listText(remote.map(({ host, from }) => `${host} (${from})`));
  return [
    ...drafts,
    ...closed.map(({ path, address, port }): Draft => {
      const key = path.join("::");
      return {
        check: "bind-address",
        // Where another OTLP port is open to them, they may be using that one.
        severity: closed.length === otlp.length ? "error" : "warning",
        found: `${address} can be reached from this machine only, and vLLM runs on ${where}`,
        wanted: "an address that those machines can reach",
        change: `${key}: 0.0.0.0:${port}, or OMNISHIM_LISTEN_HOST=0.0.0.0 in the environment where the file gives no endpoint`,
        path,
      };
    }),
  ];
}

/** What the vLLM processes of this machine are told to send to. */
export function checkSenderEndpoint(
  sender: SenderFacts,
  ports: readonly PortFacts[],
  localHosts: ReadonlySet<string>,
): Draft | undefined {
  const { endpoint, from } = sender;
  if (!endpoint) return undefined;
  const target = parseEndpoint(endpoint.url);
  const base = { check: "sender-endpoint" } as const;
  const flag = (url: string): string => `${from}: --otlp-traces-endpoint ${url}`;
  if (!target)
    return {
      ...base,
      severity: "warning",
      found: `${from} exports to ${endpoint.url}, which is no URL`,
      wanted: "http://HOST:4317",
      change: flag("http://HOST:4317"),
    };
  if (!localHosts.has(target.host)) return undefined;
  const otlp = ports.filter(({ use }) => use === "otlp");
  const port = otlp.find((candidate) => candidate.port === target.port);
  const wantedProtocol = endpoint.protocol === "grpc" ? "grpc" : "http";
  const right = otlp.find(({ protocol }) => protocol === wantedProtocol) ?? otlp[0];
  if (!right) return undefined;
  const url = `${right.usesTls ? "https" : "http"}://${target.host}:${right.port}${right.protocol === "http" ? "/v1/traces" : ""}`;
  const wrong = (found: string, wanted: string): Draft => ({
    ...base,
    severity: "error",
    found: `${from} exports to ${endpoint.url}: ${found}`,
    wanted,
    change: flag(url),
    path: (port ?? right).path,
  });
  if (!port) return wrong(`this configuration does not listen on ${target.port}`, `port ${right.port}`);
  if (port.protocol !== undefined && port.protocol !== wantedProtocol)
    return wrong(
      `${port.port} takes OTLP over ${port.protocol === "grpc" ? "gRPC" : "HTTP"}, and it speaks ${endpoint.protocol}`,
      `a port for ${endpoint.protocol}`,
    );
  if (port.usesTls !== target.usesTls)
    return wrong(port.usesTls ? "the port has TLS" : "the port has no TLS", port.usesTls ? "https://" : "http://");
  if (wantedProtocol === "http" && target.path.length <= 1) return wrong("the URL has no path", "/v1/traces");
  return { ...base, severity: "ok", found: `${from} exports to ${endpoint.url}, where this configuration listens` };
}

function parseEndpoint(text: string): { host: string; port: number; usesTls: boolean; path: string } | undefined {
  const full = /^[a-z]+:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(full)) return undefined;
  const url = new URL(full);
  const usesTls = url.protocol === "https:";
  const port = url.port === "" ? (usesTls ? 443 : 80) : Number(url.port);
  return { host: url.hostname.replace(/^\[(.*)\]$/, "$1"), port, usesTls, path: url.pathname };
}
