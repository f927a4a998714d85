import { appendFileSync, chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { OtlpClient, sendHttp } from "../kit/otlp-client.ts";
import { freePorts, Program } from "../kit/process.ts";
import { readSpans } from "../kit/spans.ts";
import { Engine, makeNodeImage, makeProgramImage, missingEngine } from "./engine.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const capture = join(root, "demo/capture/otlp");
const peers = inject("peers");
const missing = missingEngine();

const IMAGE = "omnishim";
const JAEGER_V1 = "jaegertracing/all-in-one:1.56";

/** Asks until the answer is not undefined: what is waited for is in another process. */
async function eventually<T>(what: string, ask: () => Promise<T | undefined>, timeoutMs = 60_000): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  while (Date.now() < deadline) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`${what}: not within ${timeoutMs} ms${last === undefined ? "" : `: ${String(last)}`}`);
}

interface Trace {
  readonly spans: readonly { readonly operationName: string }[];
}

/** Jaeger's trace, as its API at the published port has it; undefined where there is none yet. */
async function traceOf(uiPort: number, traceId: string): Promise<Trace | undefined> {
  const response = await fetch(`http://127.0.0.1:${uiPort}/api/traces/${traceId}`);
  if (response.status === 404) return undefined;
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return ((await response.json()) as { data: Trace[] }).data[0];
}

const payloads = readdirSync(capture)
  .filter((name) => name.endsWith(".pb"))
  .map((name) => {
    const bytes = readFileSync(join(capture, name));
    return { bytes, traceIds: readSpans(bytes).map((span) => span.traceId) };
  });

describe.skipIf(missing !== undefined)(
  `compose files under a Docker engine${missing ? ` (skipped: ${missing})` : ""}`,
  () => {
    let engine: Engine;
    const ups: (() => Promise<unknown>)[] = [];
    const folders: string[] = [];

    beforeAll(async () => {
      engine = await Engine.start();
      const node = /^ARG NODE_IMAGE=(.+)$/m.exec(readFileSync(join(root, "deploy/Dockerfile"), "utf8"))?.[1] ?? "";
      await makeNodeImage(engine, node);
      await engine.docker(["build", "--network=none", "-t", IMAGE, "-f", "deploy/Dockerfile", "."], 400_000);
      if (peers["jaeger-v1"]?.path !== undefined)
        await makeProgramImage(engine, JAEGER_V1, peers["jaeger-v1"].path, "go/bin/all-in-one-linux");
      const v2 = /image: (jaegertracing\/jaeger:)\$\{JAEGER_VERSION:-(.+)\}/.exec(
        readFileSync(join(root, "deploy/compose/jaeger-v2/docker-compose.yml"), "utf8"),
      );
      if (peers["jaeger-v2"]?.path !== undefined)
        await makeProgramImage(engine, `${v2?.[1]}${v2?.[2]}`, peers["jaeger-v2"].path, "cmd/jaeger/jaeger-linux");
    }, 500_000);

    afterEach(async () => {
      for (const down of ups.splice(0)) await down();
      for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
    }, 120_000);

    afterAll(async () => engine?.stop(), 60_000);

    interface Deployed {
      readonly container: string;
      readonly uiPort: number;
      readonly grpcPort: number;
      readonly httpPort: number;
      compose(...args: string[]): Promise<string>;
    }

    /** `docker-compose up -d` of a file, on ports of its own; taken down after the test. */
    async function up(file: string, service: string, more: Readonly<Record<string, string>> = {}): Promise<Deployed> {
      const [uiPort, jaegerPort, grpcPort, httpPort, metricsPort] = (await freePorts(5)) as [
        number,
        number,
        number,
        number,
        number,
      ];
      const env = {
        JAEGER_UI_PORT: String(uiPort),
        JAEGER_GRPC_PORT: String(jaegerPort),
        OTLP_GRPC_PORT: String(grpcPort),
        OTLP_HTTP_PORT: String(httpPort),
        METRICS_PORT: String(metricsPort),
        ...more,
      };
      const project = `omnishim${grpcPort}`;
      const compose = (...args: string[]): Promise<string> => engine.compose(file, project, args, env);
      ups.push(() => compose("down", "-v", "-t", "5"));
      await compose("up", "-d", "--no-build");
      const container = (await compose("ps", "-q", service)).trim().split("\n").at(-1) ?? "";
      await eventually(`${service} is healthy`, async () => {
        const state = (await engine.docker(["inspect", "-f", "{{.State.Health.Status}}", container])).trim();
        return state === "healthy" ? true : undefined;
      });
      return { container, uiPort, grpcPort, httpPort, compose };
    }

    /** Sends vLLM's captured spans from the host, some by gRPC and some by HTTP, and reads their traces back from Jaeger. */
    async function expectThrough({ uiPort, grpcPort, httpPort }: Deployed): Promise<void> {
      const client = new OtlpClient(`127.0.0.1:${grpcPort}`);
      try {
        for (const [index, { bytes }] of payloads.entries())
          if (index % 2 === 0) await client.send("traces", bytes);
          else await sendHttp(`http://127.0.0.1:${httpPort}`, "traces", new Uint8Array(bytes));
      } finally {
        client.close();
      }
      const wanted = new Map<string, number>();
      for (const id of payloads.flatMap(({ traceIds }) => traceIds)) wanted.set(id, (wanted.get(id) ?? 0) + 1);
      expect(wanted.size).toBeGreaterThan(3);
      for (const [id, count] of wanted)
        await eventually(`trace ${id} with ${count} spans`, async () => {
          const trace = await traceOf(uiPort, id);
          return trace !== undefined && trace.spans.length === count ? trace : undefined;
        });
    }

    describe("the image", () => {
      it("the image runs as a user without rights, with labels and a health check that needs no shell", async () => {
        const [image] = JSON.parse(await engine.docker(["inspect", IMAGE])) as [
          { Config: { User: string; Labels: Record<string, string>; Healthcheck: { Test: string[] }; Env: string[] } },
        ];
        const version = (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version;
        expect(image.Config.User).toBe("10001:10001");
        expect(image.Config.Labels["org.opencontainers.image.version"]).toBe(version);
        expect(image.Config.Healthcheck.Test[0]).toBe("CMD");
        expect(image.Config.Env).toContain("OMNISHIM_LISTEN_HOST=0.0.0.0");
      });

      it("the image has neither sources nor development packages", async () => {
        const script = `const {existsSync} = require("fs");
        console.log(JSON.stringify(["/app/src", "/app/node_modules/typescript", "/app/dist/main.js", "/app/proto"].map(existsSync)))`;
        const out = await engine.docker(["run", "--rm", "--entrypoint", "node", IMAGE, "-e", script]);
        expect(JSON.parse(out)).toEqual([false, false, true, true]);
      });

      it("the image runs the demo with a read-only root but for /tmp, and without network", async () => {
        const out = await engine.docker([
          "run",
          "--rm",
          "--read-only",
          "--tmpfs=/tmp:mode=1777",
          "--network=none",
          "--cap-drop=ALL",
          IMAGE,
          "demo",
        ]);
        expect(out).toContain("requests  8: ");
      });

      it("the image reads a file that is mounted at /etc/otel.yml also when no --config is given", async () => {
        const mount = `${join(root, "deploy/compose/documents/otel.yml")}:/etc/otel.yml:ro`;
        const out = await engine.docker([
          "run",
          "--rm",
          "-v",
          mount,
          "--entrypoint",
          "node",
          IMAGE,
          "-e",
          'console.log(require("fs").readFileSync("/etc/otelcol-contrib/config.yaml", "utf8"))',
        ]);
        expect(out).toContain("OmniInfer's own otel.yml");
      });

      it("the image's health check fails while nothing listens", async () => {
        const run = ["run", "--rm", "--entrypoint", "node", IMAGE, "/app/deploy/healthcheck.mjs"];
        await expect(engine.docker(run)).rejects.toThrow(/exit code 1:[\s\S]*nothing listens on 13133, 8888 or 4318/);
      });
    });

    const noV1 = peers["jaeger-v1"]?.path === undefined;

    it.skipIf(noV1)(
      "docker-compose.yml takes spans at 4317 and 4318 and shows them in Jaeger 1.56",
      async () => {
        const deployed = await up("docker-compose.yml", "otel-collector");
        await expectThrough(deployed);
        const [container] = JSON.parse(await engine.docker(["inspect", deployed.container])) as [
          {
            HostConfig: { ReadonlyRootfs: boolean; Memory: number; CapDrop: string[]; RestartPolicy: { Name: string } };
          },
        ];
        expect(container.HostConfig).toMatchObject({
          ReadonlyRootfs: true,
          Memory: 512 * 2 ** 20,
          CapDrop: ["ALL"],
          RestartPolicy: { Name: "unless-stopped" },
        });
        const probe = `const fs = require("fs"); let write = "written";
      try { fs.writeFileSync("/app/x", "") } catch (error) { write = error.code }
      console.log(JSON.stringify({ user: process.getuid(), write }))`;
        const seen = await engine.docker(["exec", deployed.container, "node", "-e", probe]);
        expect(JSON.parse(seen)).toEqual({ user: 10001, write: "EROFS" });
      },
      180_000,
    );

    const python = peers["python"]?.path;
    it.skipIf(noV1 || python === undefined).each(["grpc", "http"])(
      "docker-compose.yml takes spans of the Python SDK on the host over %s",
      async (protocol) => {
        const { uiPort, grpcPort, httpPort } = await up("docker-compose.yml", "otel-collector");
        const folder = mkdtempSync(join(tmpdir(), "omnishim-deploy-"));
        folders.push(folder);
        const id = protocol === "grpc" ? "0af7651916cd43dd8448eb211c80319c" : "0af7651916cd43dd8448eb211c80319d";
        const now = BigInt(Date.now()) * 1_000_000n;
        const span = {
          name: "llm_request",
          scope: "vllm.llm_engine",
          trace_id: id,
          span_id: "b7ad6b7169203331",
          parent_span_id: "",
        };
        writeFileSync(
          join(folder, "spans.json"),
          JSON.stringify([
            {
              ...span,
              start: String(now - 1_000_000n),
              end: String(now),
              attributes: {},
              resource: { "service.name": "vllm" },
            },
          ]),
        );
        const endpoint =
          protocol === "grpc" ? `http://127.0.0.1:${grpcPort}` : `http://127.0.0.1:${httpPort}/v1/traces`;
        const sender = new Program(python ?? "", [join(root, "test/peers/senders.py"), "spans", protocol, endpoint], {
          env: { SPANS_FILE: join(folder, "spans.json") },
        });
        expect(await sender.exit(60_000), sender.output).toEqual({ code: 0, signal: undefined });
        const trace = await eventually(`trace ${id}`, () => traceOf(uiPort, id));
        expect(trace.spans.map(({ operationName }) => operationName)).toEqual(["llm_request"]);
      },
      180_000,
    );

    it.skipIf(peers["jaeger-v2"]?.path === undefined)(
      "jaeger-v2/docker-compose.yml takes spans and shows them in Jaeger v2",
      async () => {
        await expectThrough(await up("deploy/compose/jaeger-v2/docker-compose.yml", "omnishim"));
      },
      180_000,
    );

    it.skipIf(noV1)(
      "omni-proxy/docker-compose.yml merges spans with the mounted log, and sends after a stop what Jaeger could not take",
      async () => {
        const logs = mkdtempSync(join(tmpdir(), "omnishim-deploy-"));
        folders.push(logs);
        chmodSync(logs, 0o755);
        for (const name of ["nginx_error.log", "nginx_access.log"])
          writeFileSync(join(logs, name), "", { mode: 0o644 });
        const deployed = await up("deploy/compose/omni-proxy/docker-compose.yml", "omnishim", {
          OMNI_LOG_DIRECTORY: logs,
        });
        const uiTraces = async (): Promise<Trace[]> => {
          const query = "service=omni-proxy&limit=100&start=0&end=4000000000000000";
          const response = await fetch(`http://127.0.0.1:${deployed.uiPort}/api/traces?${query}`);
          return ((await response.json()) as { data: Trace[] | null }).data ?? [];
        };

        await deployed.compose("stop", "-t", "1", "jaeger");
        const client = new OtlpClient(`127.0.0.1:${deployed.grpcPort}`);
        try {
          for (const name of ["nginx_error.log", "nginx_access.log"])
            appendFileSync(join(logs, name), readFileSync(join(root, "demo/capture", name)));
          await Promise.all(payloads.map(({ bytes }) => client.send("traces", bytes)));
        } finally {
          client.close();
        }
        await deployed.compose("stop", "-t", "10", "omnishim");
        await deployed.compose("up", "-d", "--no-build");
        const traces = await eventually("eight merged traces", async () => {
          const found = await uiTraces();
          return found.length >= 8 ? found : undefined;
        });
        const names = traces.flatMap(({ spans }) => spans.map(({ operationName }) => operationName));
        expect(names.filter((name) => name === "Trace for Omni Proxy")).toHaveLength(8);
        expect(names.filter((name) => name === "llm_request")).toHaveLength(
          payloads.flatMap(({ traceIds }) => traceIds).length,
        );
      },
      240_000,
    );
  },
);
