/** Sends a span through an exporter as it is configured, without its queue and its patience. */
import { randomBytes } from "node:crypto";
import { decodeNode } from "../../config/decode.ts";
import { type ConfigNode, type MapEntry, nodeAt } from "../../config/node.ts";
import type { BuildInfo, Component, ExporterFactory, Host, Settings } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import type { Planned } from "../../kernel/factories.ts";
import { parseId } from "../../kernel/id.ts";
import type { Plan } from "../../kernel/plan.ts";
import { encodeTraces } from "../../pdata/encode.ts";
import { SPAN_KIND } from "../../pdata/model.ts";
import { systemClock } from "../../telemetry/clock.ts";
import { createLogger } from "../../telemetry/logger.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import { parseGrpcTarget } from "../../transport/grpc-target.ts";
import type { ExporterFacts } from "../facts.ts";
import { lookAtPeer, openPorts, type PeerAddress } from "./peer.ts";

/** `service.name` of the span. */
export const DOCTOR_SERVICE = "omnishim-doctor";
/** Ports by which a Jaeger gives itself away: UI, admin of v1, gRPC model, Thrift over HTTP, gRPC query. */
const JAEGER_PORTS = [16686, 14269, 14250, 14268, 16685];
/** How many timeouts Jaeger may take from accepting a span to showing it: Badger and Elasticsearch write in batches. */
const SHOWN_WITHIN = 2;
const ASK_EVERY_MS = 250;

/** What is needed of the surroundings. */
export interface ExporterProbe {
  readonly plan: Plan;
  readonly root: ConfigNode;
  readonly build: BuildInfo;
  /** For each attempt, milliseconds. */
  readonly timeoutMs: number;
  /** Ports to look for a Jaeger on; Jaeger's own unless a test says otherwise. */
  readonly jaegerPorts?: readonly number[];
  /** Jaeger's UI, to look the span up in; "" for none. */
  readonly queryUrl: string;
  /** Whether Jaeger has the trace. @throws Error when it cannot be asked */
  hasTrace(url: string, traceId: string): Promise<boolean>;
}

/** How the doctor sees an exporter's section. */
interface Destination {
  readonly protocol: "grpc" | "http";
  readonly endpoint: string;
  readonly usesTls: boolean;
  readonly address: PeerAddress | undefined;
}

/** Every OTLP exporter that a pipeline of traces uses. */
export async function probeExporters(probe: ExporterProbe): Promise<ExporterFacts[]> {
  const ids = new Set(
    probe.plan.pipelines.filter(({ signal }) => signal === "traces").flatMap(({ exporters }) => exporters),
  );
  const planned = [...ids].flatMap((id) => {
    const found = probe.plan.exporters.get(id);
    return found && (found.factory.type === "otlp_grpc" || found.factory.type === "otlp_http") ? [{ id, found }] : [];
  });
  return Promise.all(planned.map(({ id, found }) => probeExporter(id, found, probe)));
}

async function probeExporter(
  id: string,
  planned: Planned<ExporterFactory>,
  probe: ExporterProbe,
): Promise<ExporterFacts> {
  const { timeoutMs, queryUrl, plan } = probe;
  const path = ["exporters", writtenAs(probe.root, "exporters", id)];
  const { protocol, endpoint, usesTls, address } = destinationOf(planned);
  const [sent, peer] = await Promise.all([
    sendSpan(path, planned, probe),
    address ? lookAtPeer(address, timeoutMs) : undefined,
  ]);
  const isClosed = address !== undefined && peer?.connectCode === "ECONNREFUSED";
  const queryPort = isClosed && queryUrl !== "" ? portOn(address.host, queryUrl) : [];
  const candidates = isClosed ? [...(probe.jaegerPorts ?? JAEGER_PORTS), ...queryPort] : [];
  const jaegerPorts = isClosed ? await openPorts(address.host, [...new Set(candidates)], timeoutMs) : [];
  const query = sent.ok && queryUrl !== "" ? { url: queryUrl, result: await lookUp(sent.traceId, probe) } : undefined;
  const ours = new Set(ourPorts(plan));
  return {
    path,
    protocol,
    endpoint,
    host: address?.host ?? endpoint,
    port: address?.port ?? 0,
    usesTls,
    sent,
    peer,
    jaegerPorts: jaegerPorts.filter((port) => !ours.has(port)),
    query,
  };
}

function ourPorts(plan: Plan): number[] {
  const listens = [...plan.receivers.values(), ...plan.extensions.values()].flatMap(
    ({ configured }) => configured.listens ?? [],
  );
  return listens.map(({ address }) => Number(address.slice(address.lastIndexOf(":") + 1)));
}

function portOn(host: string, url: string): number[] {
  if (!URL.canParse(url)) return [];
  const { hostname, port, protocol } = new URL(url);
  const isSame = hostname.replace(/^\[(.*)\]$/, "$1") === host;
  return isSame ? [port === "" ? (protocol === "https:" ? 443 : 80) : Number(port)] : [];
}

/** The key in the file: ids may have spaces around them there. */
export function writtenAs(root: ConfigNode, section: string, id: string): string {
  const node = nodeAt(root, [section]);
  return (node?.kind === "map" ? [...node.entries.keys()].find((key) => key.trim() === id) : undefined) ?? id;
}

/** `effective` has every key of the section, secrets redacted; user and password of a URL are taken out here. */
function destinationOf({ factory, configured }: Planned<ExporterFactory>): Destination {
  const config = configured.effective as {
    readonly endpoint: string;
    readonly traces_endpoint?: string;
    readonly proxy_url?: string;
    readonly tls: { insecure: boolean; ca_file: string; ca_pem: string; server_name_override: string };
  };
  const serverName = config.tls.server_name_override;
  if (factory.type === "otlp_grpc") {
    const target = parseGrpcTarget(config.endpoint);
    const parsed = typeof target === "string" ? { target: "", scheme: "" } : target;
    const isPlain = config.tls.insecure && config.tls.ca_file === "" && config.tls.ca_pem === "";
    const [, bracketed, plain = "", port] = /^dns:\/\/[^/]*\/(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(parsed.target) ?? [];
    return {
      protocol: "grpc",
      endpoint: config.endpoint,
      usesTls: parsed.scheme === "https" || !isPlain,
      address:
        port === undefined
          ? undefined
          : { host: bracketed ?? plain, port: Number(port), serverName, path: "/v1/traces" },
    };
  }
  const url = new URL(config.traces_endpoint || `${config.endpoint.replace(/\/$/, "")}/v1/traces`);
  url.username = "";
  url.password = "";
  const usesTls = url.protocol === "https:";
  return {
    protocol: "http",
    endpoint: config.traces_endpoint ? url.href : url.href.replace(/\/v1\/traces$/, ""),
    usesTls,
    address: config.proxy_url
      ? undefined
      : {
          host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
          port: url.port === "" ? (usesTls ? 443 : 80) : Number(url.port),
          serverName,
          path: url.pathname,
        },
  };
}

/** The section as it is, but one attempt with an answer, and nothing in a queue. */
function withoutPatience(section: ConfigNode, timeoutMs: number): ConfigNode {
  const scalar = (value: string | boolean): ConfigNode => ({ kind: "scalar", value, at: section.at });
  const entry = (node: ConfigNode): MapEntry => ({ key: section.at, node });
  const off: ConfigNode = { kind: "map", entries: new Map([["enabled", entry(scalar(false))]]), at: section.at };
  const entries = new Map(section.kind === "map" ? section.entries : []);
  entries
    .set("retry_on_failure", entry(off))
    .set("sending_queue", entry(off))
    .set("timeout", entry(scalar(`${timeoutMs}ms`)));
  entries.delete("wait_for_ready");
  return { kind: "map", entries, at: section.at };
}

async function sendSpan(
  path: readonly string[],
  { id, factory }: Planned<ExporterFactory>,
  probe: ExporterProbe,
): Promise<ExporterFacts["sent"]> {
  const { plan, root, build, timeoutMs } = probe;
  const section = nodeAt(root, path);
  if (!section) return { ok: false, message: "it is not configured", grpcCode: undefined };
  const settings: Settings = {
    id,
    logger: createLogger({ level: "error", encoding: "json", write: () => undefined }),
    metrics: createMetrics(),
    clock: systemClock,
    build,
  };
  const started: Component[] = [];
  try {
    const configured = decodeNode(withoutPatience(section, timeoutMs), (value) => factory.configure(value));
    const extensions = new Map<string, Component>();
    const host: Host = { extension: (name) => extensions.get(name), reportStatus: () => undefined };
    for (const { id: name } of configured.extensions ?? []) {
      const extension = plan.extensions.get(name);
      const parsed = parseId(name);
      if (!extension || typeof parsed === "string") continue;
      const component = extension.configured.create({ ...settings, id: parsed });
      await component.start(host);
      started.push(component);
      extensions.set(name, component);
    }
    const exporter = configured.create(settings);
    const consumer = exporter.consumers.traces;
    if (!consumer) throw new Error("it takes no traces");
    await exporter.start(host);
    started.unshift(exporter);
    const { bytes, traceId } = doctorSpan(build);
    await consumer.consume({ signal: "traces", bytes, items: 1 }, {});
    return { ok: true, traceId };
  } catch (error) {
    return {
      ok: false,
      message: error instanceof Error ? error.message : String(error),
      grpcCode: error instanceof ConsumeError ? error.grpcCode : undefined,
    };
  } finally {
    await Promise.all(started.map((component) => component.shutdown(AbortSignal.timeout(timeoutMs))));
  }
}

function doctorSpan(build: BuildInfo): { bytes: Buffer; traceId: string } {
  const traceId = randomBytes(16).toString("hex");
  const endUnixNano = BigInt(Date.now()) * 1_000_000n;
  const bytes = encodeTraces([
    {
      resource: { attributes: [{ key: "service.name", value: DOCTOR_SERVICE }] },
      scopeSpans: [
        {
          scope: { name: build.command, version: build.version },
          spans: [
            {
              traceId,
              spanId: randomBytes(8).toString("hex"),
              name: "doctor",
              kind: SPAN_KIND.INTERNAL,
              startUnixNano: endUnixNano - 1_000_000n,
              endUnixNano,
            },
          ],
        },
      ],
    },
  ]);
  return { bytes, traceId };
}

async function lookUp(
  traceId: string,
  { queryUrl, hasTrace, timeoutMs }: ExporterProbe,
): Promise<"found" | "missing" | { problem: string }> {
  const deadline = systemClock.monotonic() + SHOWN_WITHIN * timeoutMs;
  try {
    for (;;) {
      if (await hasTrace(queryUrl, traceId)) return "found";
      if (systemClock.monotonic() > deadline) return "missing";
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}
