import { appendFileSync, chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { OtlpClient, sendHttp } from "../kit/otlp-client.ts";
import { freePorts, Program } from "../kit/process.ts";
import { readSpans } from "../kit/spans.ts";
import { Engine, makeNodeImage, makeProgramImage, missingEngine } from "./engine.ts";
import { sendAtPace } from "./pace.ts";
import { Trickle } from "./trickle.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const capture = join(root, "demo/capture/otlp");
const peers = inject("peers");
const missing = await missingEngine();

const IMAGE = "omnishim";
const JAEGER_V1 = "jaegertracing/all-in-one:1.56";

/** Seconds of the load at 5,000 spans a second; five minutes, as the documents' smallest host is meant for, when asked for. */
const LOAD_SECONDS = Number(process.env["OMNISHIM_LOAD_SECONDS"] ?? 20);
const READ_STATUS = 'console.log(require("fs").readFileSync("/proc/1/status", "utf8"))';

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

    afterAll(async () => engine?.stop(), 120_000);

    interface Deployed {
      readonly container: string;
      readonly uiPort: number;
      readonly grpcPort: number;
      readonly httpPort: number;
      readonly metricsPort: number;
      readonly mockPort: number;
      compose(...args: string[]): Promise<string>;
    }

    /** `docker-compose up -d` of a file, on ports of its own; taken down after the test. */
    async function up(file: string, service: string, more: Readonly<Record<string, string>> = {}): Promise<Deployed> {
      type Ports = [number, number, number, number, number, number];
      const [uiPort, jaegerPort, grpcPort, httpPort, metricsPort, mockPort] = (await freePorts(6)) as Ports;
      const env = {
        JAEGER_UI_PORT: String(uiPort),
        JAEGER_GRPC_PORT: String(jaegerPort),
        OTLP_GRPC_PORT: String(grpcPort),
        OTLP_HTTP_PORT: String(httpPort),
        METRICS_PORT: String(metricsPort),
        MOCK_PORT: String(mockPort),
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
      return { container, uiPort, grpcPort, httpPort, metricsPort, mockPort, compose };
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

    /** Those of `ids` that Jaeger has not got. */
    async function missingIn(uiPort: number, ids: readonly string[]): Promise<string[]> {
      const found = await Promise.all(ids.map(async (id) => (await traceOf(uiPort, id)) !== undefined));
      return ids.filter((_, index) => !found[index]);
    }

    it.skipIf(noV1)(
      "docker stop under load loses nothing that was acknowledged",
      async () => {
        const { uiPort, httpPort, container } = await up("docker-compose.yml", "otel-collector");
        const load = new Trickle(httpPort);
        try {
          await load.reach(60);
          await engine.docker(["stop", "-t", "10", container]);
        } finally {
          await load.stop();
        }
        expect((await engine.docker(["inspect", "-f", "{{.State.ExitCode}}", container])).trim()).toBe("0");
        expect(load.acknowledged.length).toBeGreaterThanOrEqual(60);
        let left: readonly string[] = load.acknowledged;
        await eventually("every span that was acknowledged", async () => {
          left = await missingIn(uiPort, left);
          return left.length === 0 ? true : undefined;
        });
      },
      180_000,
    );

    it.skipIf(noV1)(
      "a restart of Jaeger under load loses nothing but what Jaeger had in its memory",
      async () => {
        const folder = mkdtempSync(join(tmpdir(), "omnishim-deploy-"));
        folders.push(folder);
        const { uiPort, httpPort, metricsPort, compose } = await up(
          "deploy/compose/omni-proxy/docker-compose.yml",
          "omnishim",
          { OMNI_LOG_DIRECTORY: folder },
        );
        const sent = async (): Promise<number> => {
          const page = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
          return Number(/^otelcol_exporter_sent_spans\S* (\d+)/m.exec(page)?.[1] ?? "0");
        };
        const load = new Trickle(httpPort);
        let delivered = 0;
        let before = 0;
        try {
          await load.reach(60);
          await eventually("spans in Jaeger", async () => ((await sent()) > 0 ? true : undefined));
          await compose("stop", "-t", "1", "jaeger");
          before = load.acknowledged.length;
          delivered = await sent();
          await load.reach(before + 60);
          await compose("start", "jaeger");
          await load.reach(before + 120);
        } finally {
          await load.stop();
        }
        expect(delivered).toBeGreaterThan(0);
        let left: readonly string[] = load.acknowledged;
        await eventually("every span that Jaeger had not got before", async () => {
          left = await missingIn(uiPort, left);
          return left.length <= delivered ? true : undefined;
        });
        const late = new Set(load.acknowledged.slice(before));
        expect(left.filter((id) => late.has(id))).toEqual([]);
      },
      240_000,
    );

    it.skipIf(noV1)(
      "demo/docker-compose.yml shows merged traces without a GPU, of its own requests and of those sent to the mock",
      async () => {
        const { uiPort, mockPort } = await up("deploy/compose/demo/docker-compose.yml", "omnishim", { DEMO_RATE: "4" });
        const id = "0af7651916cd43dd8448eb211c80319e";
        const answer = await eventually("the mock's answer", async () => {
          const response = await fetch(`http://127.0.0.1:${mockPort}/v1/chat/completions`, {
            method: "POST",
            headers: { traceparent: `00-${id}-b7ad6b7169203331-01`, "X-Request-Id": "asked-by-a-test" },
            body: JSON.stringify({ messages: [{ role: "user", content: "hello" }], max_tokens: 3 }),
          });
          return (await response.json()) as { choices: { message: { content: string } }[] };
        });
        expect(answer.choices[0]?.message.content).toBe(" token0 token1 token2");
        const isWhole = ({ spans }: Trace): boolean => {
          const names = spans.map(({ operationName }) => operationName);
          return names.includes("Trace for Omni Proxy") && names.filter((name) => name === "llm_request").length === 2;
        };
        await eventually("the trace of the request", async () => {
          const trace = await traceOf(uiPort, id);
          return trace !== undefined && isWhole(trace) ? trace : undefined;
        });
        await eventually("five whole traces of the mock's own requests", async () => {
          const query = "service=omni-proxy&limit=100&start=0&end=4000000000000000";
          const response = await fetch(`http://127.0.0.1:${uiPort}/api/traces?${query}`);
          const { data } = (await response.json()) as { data: Trace[] | null };
          return (data ?? []).filter(isWhole).length > 5 ? true : undefined;
        });
      },
      180_000,
    );

    it.skipIf(noV1)(
      `the image's own configuration takes 5,000 spans a second for ${LOAD_SECONDS} s in less than 512 MB`,
      async ({ skip }) => {
        const [port = 0] = await freePorts(1);
        const names = { network: `load${port}`, jaeger: `jaeger${port}`, omnishim: `omnishim${port}` };
        ups.push(async () => {
          await engine.docker(["rm", "-f", names.jaeger, names.omnishim]);
          await engine.docker(["network", "rm", names.network]);
        });
        await engine.docker(["network", "create", names.network]);
        const inNetwork = ["-d", `--network=${names.network}`];
        await engine.docker([
          ...["run", ...inNetwork, "--network-alias=jaeger", `--name=${names.jaeger}`],
          ...["-e", "COLLECTOR_OTLP_ENABLED=true", JAEGER_V1, "--memory.max-traces=1000"],
        ]);
        await engine.docker([
          ...["run", ...inNetwork, `--name=${names.omnishim}`, "--read-only", "--memory=512m", "--memory-swap=512m"],
          ...[`--publish=127.0.0.1:${port}:4317`, IMAGE],
        ]);
        await eventually("omnishim is ready", async () =>
          (await engine.docker(["logs", names.omnishim])).includes("Everything is ready") ? true : undefined,
        );
        const client = new OtlpClient(`127.0.0.1:${port}`);
        let pace = 0;
        try {
          const { acknowledged, seconds } = await sendAtPace(client, 5_000, LOAD_SECONDS);
          pace = acknowledged / seconds;
          const status = await engine.docker(["exec", names.omnishim, "node", "-e", READ_STATUS]);
          const peak = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
          console.log(`${acknowledged} spans in ${seconds.toFixed(1)} s, at most ${peak.toFixed(0)} MiB resident`);
          expect(peak).toBeGreaterThan(30);
          expect(peak).toBeLessThan(512);
        } finally {
          client.close();
        }
        const state = JSON.parse(await engine.docker(["inspect", "-f", "{{json .State}}", names.omnishim])) as object;
        expect(state).toMatchObject({ Running: true, OOMKilled: false });
        // Sender, Jaeger and omnishim share the machine, so this says nothing of omnishim.
        skip(pace < 4_500, `memory was in bounds, but this machine sent only ${pace.toFixed(0)} spans a second`);
      },
      (LOAD_SECONDS * 2 + 120) * 1000,
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
