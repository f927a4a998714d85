/** The omnishim that runs, if one does: its metrics page, and which process holds a port. */
import { readFile, readlink, realpath } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { parseListenAddress } from "../../config/listen-address.ts";
import { metricsAddresses } from "../../config/telemetry.ts";
import type { Plan } from "../../kernel/plan.ts";
import { findHolder } from "../../transport/holder.ts";
import type { RunningFacts } from "../facts.ts";
import { parseSamples } from "../samples.ts";

/** Reads the metrics page of the configuration; undefined when nothing answers there that is this program. */
export async function probeRunning(plan: Plan, command: string, timeoutMs: number): Promise<RunningFacts | undefined> {
  for (const { address } of metricsAddresses(plan.telemetry)) {
    const parsed = parseListenAddress(address);
    if (typeof parsed === "string" || parsed.kind === "unix" || parsed.port === 0) continue;
    const isAny = parsed.host === "" || parsed.host === "0.0.0.0" || parsed.host === "::";
    const host = isAny ? "127.0.0.1" : parsed.host.includes(":") ? `[${parsed.host}]` : parsed.host;
    const url = `http://${host}:${parsed.port}/metrics`;
    const page = await fetchText(url, timeoutMs);
    const samples = parseSamples(page ?? "");
    // A Collector has the same names, and target_info with its own.
    const isOurs = samples.some(
      ({ name, labels }) =>
        name.startsWith("omnishim_") || (name === "target_info" && labels["service_name"] === command),
    );
    if (isOurs) return { pid: (await findHolder(parsed.port))?.pid, url, samples };
  }
  return undefined;
}

async function fetchText(url: string, timeoutMs: number): Promise<string | undefined> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    return answer.ok ? await answer.text() : undefined;
  } catch {
    return undefined;
  }
}

/** Whether process `pid` is this program: by the name of its binary, or by the package that its script belongs to. */
export async function isProgram(pid: number, command: string, proc = "/proc"): Promise<boolean> {
  const [binary = "", ...args] = (await readFile(`${proc}/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  if (basename(binary) === command) return true;
  const script = args.find((arg) => !arg.startsWith("-") && arg !== "");
  if (script === undefined || !/^(?:node|bun|deno)/.test(basename(binary))) return false;
  const folder = await readlink(`${proc}/${pid}/cwd`).catch(() => "/");
  const path = await realpath(resolve(folder, script)).catch(() => resolve(folder, script));
  const manifest = await readFile(join(dirname(path), "..", "package.json"), "utf8").catch(() => "{}");
  return nameIn(manifest) === command;
}

function nameIn(manifest: string): unknown {
  try {
    return (JSON.parse(manifest) as { name?: unknown }).name;
  } catch {
    return undefined;
  }
}
