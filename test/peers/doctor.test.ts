import { afterEach, describe, expect, inject, it } from "vitest";
import type { Finding } from "../../src/doctor/finding.ts";
import { command } from "../kit/edge.ts";
import { freePorts } from "../kit/process.ts";
import { Jaeger, type JaegerVersion } from "./jaeger.ts";

const peers = inject("peers");
const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function start(version: JaegerVersion): Promise<Jaeger> {
  const jaeger = await Jaeger.start(version, peers[`jaeger-${version}`]?.path ?? "");
  closing.push(() => jaeger.stop());
  return jaeger;
}

/** What `omnishim doctor` finds about an exporter to `endpoint`. */
async function findings(endpoint: string, query: string): Promise<Finding[]> {
  const [port] = await freePorts(1);
  const yaml = `yaml:receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:${port}"}}}}
exporters: {otlp_grpc: {endpoint: "${endpoint}", tls: {insecure: true}}}
service: {telemetry: {metrics: {level: none}}, pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc]}}}`;
  const { stdout } = await command(["doctor", "--config", yaml, "--jaeger-query", query, "--json"]);
  return (JSON.parse(stdout) as { findings: Finding[] }).findings;
}

describe.each(["v1", "v2"] as const)("omnishim doctor with Jaeger %s", (version) => {
  const isMissing = peers[`jaeger-${version}`]?.path === undefined;

  it.skipIf(isMissing)("doctor finds its span again in a real Jaeger when all is well", async () => {
    const jaeger = await start(version);
    const found = await findings(jaeger.grpc, jaeger.query);
    expect(found.filter(({ severity }) => severity !== "ok")).toEqual([]);
    expect(found.find(({ check }) => check === "backend")?.found).toBe(
      `${jaeger.grpc} took a span, and ${jaeger.query} has it`,
    );
  });

  it.skipIf(isMissing)(
    "doctor finds Jaeger without OTLP when a real one answers on its other ports alone",
    async () => {
      const jaeger = await start(version);
      const [closed] = await freePorts(1);
      const found = await findings(`127.0.0.1:${closed}`, jaeger.query);
      expect(found.filter(({ severity }) => severity === "error").map(({ check }) => check)).toEqual([
        "jaeger-without-otlp",
      ]);
    },
  );

  it.skipIf(isMissing)(
    "doctor finds an HTTP port when the exporter points at a real Jaeger's user interface",
    async () => {
      const jaeger = await start(version);
      const found = await findings(jaeger.query.replace("http://", ""), jaeger.query);
      expect(found.filter(({ severity }) => severity === "error").map(({ check }) => check)).toEqual(["grpc-to-http"]);
    },
  );
});
