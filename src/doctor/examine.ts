/** Gathers the facts of a machine and a configuration, and says what is wrong. */
import type { ConfigNode } from "../config/node.ts";
import type { BuildInfo } from "../kernel/api.ts";
import type { Plan } from "../kernel/plan.ts";
import type { FileAccess } from "../receivers/omniproxylog/files.ts";
import { nodeFiles } from "../receivers/omniproxylog/files.ts";
import { diagnose } from "./diagnose.ts";
import type { Facts } from "./facts.ts";
import type { Draft } from "./finding.ts";
import { probeExporters } from "./probes/exporter.ts";
import { type DiskAccess, nodeDisk, probeCertificates, probeHost, probeQueues } from "./probes/host.ts";
import { probeLogs } from "./probes/logs.ts";
import { probePorts } from "./probes/ports.ts";
import { probeRunning } from "./probes/running.ts";
import { localHosts, probeSenders } from "./probes/senders.ts";

/** What is examined, and how. */
export interface Examination {
  readonly plan: Plan;
  readonly root: ConfigNode;
  readonly build: BuildInfo;
  /** "20.19.0". */
  readonly oldestNode: string;
  /** Hosts that vLLM runs on. */
  readonly vllm: readonly string[];
  /** Jaeger's UI; "" for none. */
  readonly queryUrl: string;
  /** For each connection and request, milliseconds. */
  readonly timeoutMs: number;
  /** How many of a log's last requests are looked at. */
  readonly lastRequests: number;
  /** What relative paths of the configuration begin at. */
  readonly folder: string;
  /** Whether the Jaeger at `url` has the trace. @throws Error when it cannot be asked */
  hasTrace(url: string, traceId: string): Promise<boolean>;
}

/** The machine, where a test has another one. */
export interface Machine {
  readonly files: FileAccess;
  readonly disk: DiskAccess;
  readonly proc: string;
  readonly jaegerPorts?: readonly number[];
}

const THIS_MACHINE: Machine = { files: nodeFiles, disk: nodeDisk, proc: "/proc" };

/** Looks at everything that the configuration names; never rejects for what it finds. Sends one span through each exporter. */
export async function examine(examination: Examination, machine: Machine = THIS_MACHINE): Promise<Draft[]> {
  return diagnose(await gather(examination, machine));
}

async function gather(examination: Examination, machine: Machine): Promise<Facts> {
  const { plan, root, build, timeoutMs, lastRequests, folder } = examination;
  const running = await probeRunning(plan, build.command, timeoutMs);
  // Before the exporters: their connections must not be taken for listeners' ports.
  const ports = await probePorts(plan, root, build.command, running?.pid);
  const held = ports.find(({ state }) => state.kind === "ours");
  const pid = running?.pid ?? (held?.state.kind === "ours" ? held.state.pid : undefined);
  const logs = await probeLogs(plan, machine.files, folder, lastRequests);
  const [host, senders, exporters, queues, certificates] = await Promise.all([
    probeHost(pid, examination.oldestNode, machine.proc),
    probeSenders(examination.vllm, logs, machine.proc),
    probeExporters({ ...examination, ...(machine.jaegerPorts ? { jaegerPorts: machine.jaegerPorts } : {}) }),
    probeQueues(plan, machine.disk),
    probeCertificates(plan, root, Date.now()),
  ]);
  const merge = [...plan.connectors].find(([, { factory }]) => factory.type === "request_merge")?.[0];
  return {
    host,
    running,
    mergePath: ["connectors", merge ?? "request_merge"],
    localHosts: localHosts(),
    ports,
    senders,
    exporters,
    logs,
    queues,
    certificates,
  };
}
