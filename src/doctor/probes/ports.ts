/** The addresses that a configuration binds: tried, and whose they are when they are taken. */
import { lookup } from "node:dns/promises";
import { createServer } from "node:net";
import { type ListenAddress, parseListenAddress } from "../../config/listen-address.ts";
import { type ConfigNode, DELIMITER, nodeAt } from "../../config/node.ts";
import { metricsAddresses } from "../../config/telemetry.ts";
import type { Plan } from "../../kernel/plan.ts";
import { findHolder } from "../../transport/holder.ts";
import { ListenError, listen } from "../../transport/listen.ts";
import type { PortFacts } from "../facts.ts";
import { writtenAs } from "./exporter.ts";
import { isProgram } from "./running.ts";

/** What binds what. */
interface Wanted {
  readonly path: readonly string[];
  readonly use: PortFacts["use"];
  readonly address: string;
  readonly protocol: "grpc" | "http" | undefined;
  readonly usesTls: boolean;
}

/** Every TCP address of what runs; Unix sockets have no port that could be taken. */
export async function probePorts(
  plan: Plan,
  root: ConfigNode,
  command: string,
  runningPid: number | undefined,
): Promise<PortFacts[]> {
  const facts: PortFacts[] = [];
  for (const wanted of wantedAddresses(plan, root)) {
    const parsed = parseListenAddress(wanted.address);
    if (typeof parsed === "string" || parsed.kind === "unix") continue;
    facts.push({
      ...wanted,
      port: parsed.port,
      isLoopback: await isLoopback(parsed.host),
      state: await stateOf(parsed, wanted.path, command, runningPid),
    });
  }
  return facts;
}

function wantedAddresses(plan: Plan, root: ConfigNode): Wanted[] {
  const receivers = new Set(plan.pipelines.flatMap((pipeline) => pipeline.receivers));
  const extensions = new Set(plan.enabledExtensions);
  const wanted: Wanted[] = [];
  const add = (
    section: string,
    id: string,
    type: string,
    listens: readonly { path: readonly string[]; address: string }[] | undefined,
  ): void => {
    for (const { path, address } of listens ?? []) {
      const full = [section, writtenAs(root, section, id), ...path];
      const protocol =
        section === "receivers" && type === "otlp" ? (path.includes("grpc") ? "grpc" : "http") : undefined;
      const tls = nodeAt(root, [...full.slice(0, -1), "tls"]);
      wanted.push({ path: full, address, use: protocol ? "otlp" : "other", protocol, usesTls: tls?.kind === "map" });
    }
  };
  for (const [id, { factory, configured }] of plan.receivers)
    if (receivers.has(id)) add("receivers", id, factory.type, configured.listens);
  for (const [id, { factory, configured }] of plan.extensions)
    if (extensions.has(id)) add("extensions", id, factory.type, configured.listens);
  for (const { address, key } of metricsAddresses(plan.telemetry))
    wanted.push({ path: key.split(DELIMITER), use: "metrics", address, protocol: undefined, usesTls: false });
  return wanted;
}

async function isLoopback(host: string): Promise<boolean> {
  if (host === "" || host === "0.0.0.0" || host === "::") return false;
  if (host === "localhost" || host === "::1" || host.startsWith("127.")) return true;
  const found = await lookup(host).catch(() => undefined);
  return found !== undefined && (found.address === "::1" || found.address.startsWith("127."));
}

async function stateOf(
  address: ListenAddress & { kind: "tcp" },
  path: readonly string[],
  command: string,
  runningPid: number | undefined,
): Promise<PortFacts["state"]> {
  const server = createServer();
  try {
    await listen(server, address, path.join(DELIMITER));
    return { kind: "free" };
  } catch (error) {
    if (!(error instanceof ListenError) || error.code !== "EADDRINUSE")
      return { kind: "unusable", problem: error instanceof Error ? error.message : String(error) };
    const holder = await findHolder(address.port);
    const isOurs = holder && (holder.pid === runningPid || (await isProgram(holder.pid, command)));
    return isOurs ? { kind: "ours", pid: holder.pid } : { kind: "taken", holder };
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}
