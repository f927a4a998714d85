/** Where vLLM runs: as told, as the proxy's log says, and as this machine's own processes show. */
import { lookup } from "node:dns/promises";
import { readdir, readFile } from "node:fs/promises";
import { hostname, networkInterfaces } from "node:os";
import type { LogFacts, SenderFacts } from "../facts.ts";

/** The flag of vLLM that names where its spans go. */
const FLAG = "--otlp-traces-endpoint";
const PROTOCOL_VARIABLES = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/** Names and addresses of this machine. */
export function localHosts(): string[] {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []);
  return [...new Set(["localhost", "127.0.0.1", "::1", "0.0.0.0", hostname(), ...addresses])];
}

/** @param told hosts of `--vllm` */
export async function probeSenders(
  told: readonly string[],
  logs: readonly LogFacts[],
  proc = "/proc",
): Promise<SenderFacts[]> {
  const local = new Set(localHosts());
  const named = new Map<string, string>();
  for (const host of told) named.set(host, "--vllm");
  for (const { files } of logs)
    for (const { file, content } of files)
      for (const host of content?.upstreams ?? []) if (!named.has(host)) named.set(host, `an upstream in ${file}`);
  const hosts = await Promise.all(
    [...named].map(async ([host, from]) => ({ host, from, isLocal: await isLocalHost(host, local) })),
  );
  return [...hosts, ...(await processesWithFlag(proc))];
}

async function isLocalHost(host: string, local: ReadonlySet<string>): Promise<boolean | undefined> {
  if (local.has(host) || host.startsWith("127.")) return true;
  const found = await lookup(host, { all: true }).catch(() => []);
  if (found.length === 0) return undefined;
  return found.some(({ address }) => local.has(address) || address.startsWith("127."));
}

/** vLLM processes of this machine that export spans; workers repeat their parent's command line, so each endpoint counts once. */
async function processesWithFlag(proc: string): Promise<SenderFacts[]> {
  const found = new Map<string, SenderFacts>();
  for (const pid of (await readdir(proc).catch(() => [])).filter((name) => /^\d+$/.test(name))) {
    const args = (await readFile(`${proc}/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
    const url = flagValue(args);
    // The flag counts in vLLM's command lines, not in those of shells and editors that have it in a text.
    if (url === undefined || !args.some((arg) => /vllm/i.test(arg))) continue;
    const environment = (await readFile(`${proc}/${pid}/environ`, "utf8").catch(() => "")).split("\0");
    const said = PROTOCOL_VARIABLES.map((name) =>
      environment.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1),
    ).find((value) => value !== undefined);
    const protocol = said?.startsWith("http") ? "http/protobuf" : "grpc";
    const key = `${url} ${protocol}`;
    if (!found.has(key))
      found.set(key, { host: "localhost", isLocal: true, from: `vLLM (pid ${pid})`, endpoint: { url, protocol } });
  }
  return [...found.values()];
}

function flagValue(args: readonly string[]): string | undefined {
  const at = args.indexOf(FLAG);
  if (at >= 0) return args[at + 1] || undefined;
  return args.find((arg) => arg.startsWith(`${FLAG}=`))?.slice(FLAG.length + 1) || undefined;
}
