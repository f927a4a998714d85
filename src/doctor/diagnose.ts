/** Facts -> findings. Pure: the same facts give the same findings. */
import { checkExporter } from "./checks/exporters.ts";
import { checkCertificate, checkNode, checkOpenFiles, checkQueue } from "./checks/host.ts";
import { checkLog } from "./checks/logs.ts";
import { checkBindAddresses, checkPort, checkSenderEndpoint } from "./checks/ports.ts";
import { checkClocks, checkIds, checkJoining } from "./checks/requests.ts";
import type { Facts } from "./facts.ts";
import type { Draft } from "./finding.ts";

/** Every check, in the order of the data's way: host, ports, senders, logs, requests, backends, disk. */
export function diagnose(facts: Facts): Draft[] {
  const { host, ports, senders, running, logs, exporters, queues, certificates, localHosts, mergePath } = facts;
  const found: (Draft | undefined)[] = [
    checkNode(host),
    checkOpenFiles(host),
    ...ports.map(checkPort),
    ...checkBindAddresses(ports, senders),
    ...senders.map((sender) => checkSenderEndpoint(sender, ports, new Set(localHosts))),
    ...logs.flatMap(checkLog),
    ...logs.flatMap(checkIds),
    ...(running ? [checkJoining(running, mergePath), ...checkClocks(running, mergePath)] : []),
    ...exporters.map(checkExporter),
    ...certificates.map(checkCertificate),
    ...queues.map(checkQueue),
  ];
  return found.filter((draft) => draft !== undefined);
}
