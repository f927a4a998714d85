import { afterEach, describe, expect, it } from "vitest";
import { FakeClock } from "../../../test/kit/clock.ts";
import { testSettings } from "../../../test/kit/settings.ts";
import type { ServiceHealth } from "../../kernel/api.ts";
import { ConfigErrors } from "../../kernel/errors.ts";
import type { Logger } from "../../telemetry/logger.ts";
import { healthCheckExtensionFactory } from "./factory.ts";
import type { HealthCheck } from "./health-check.ts";

const started: HealthCheck[] = [];

afterEach(async () => {
  for (const extension of started.splice(0)) await extension.shutdown();
});

/** Lines of the log, and where it listens once it does. */
class Lines implements Logger {
  readonly all: string[] = [];
  debug(): void {}
  info(message: string, fields?: unknown): void {
    this.all.push(fields ? `${message} ${JSON.stringify(fields)}` : message);
  }
  warn(message: string): void {
    this.all.push(`warn ${message}`);
  }
  error(): void {}
  with(): Logger {
    return this;
  }
  get url(): string {
    return /http:\/\/[^/]+/.exec(this.all.find((line) => line.includes("http://")) ?? "")?.[0] ?? "";
  }
}

async function start(section: Readonly<Record<string, unknown>> = {}) {
  const logger = new Lines();
  const clock = new FakeClock(Date.UTC(2026, 10, 22, 12));
  const configured = healthCheckExtensionFactory.configure({ endpoint: "127.0.0.1:0", ...section });
  const extension = configured.create(testSettings("health_check", { logger, clock })) as HealthCheck;
  started.push(extension);
  await extension.start();
  const get = async (path: string, method = "GET") => {
    const response = await fetch(`${logger.url}${path}`, { method });
    return { status: response.status, type: response.headers.get("content-type"), body: await response.text() };
  };
  return { extension, clock, logger, get };
}

const READY: ServiceHealth = { ready: true, problems: [] };

describe("HealthCheck", () => {
  it("is not available before the service is ready, and again when it stops", async () => {
    const { extension, get } = await start();
    const unavailable = {
      status: 503,
      type: "application/json",
      body: '{"status":"Server not available","upSince":"0001-01-01T00:00:00Z","uptime":""}',
    };
    expect(await get("/")).toEqual(unavailable);
    extension.serviceChanged(READY);
    expect((await get("/")).status).toBe(200);
    extension.serviceChanged({ ready: false, problems: [] });
    expect(await get("/")).toEqual(unavailable);
  });

  it("says since when it is available, for any method and any path below its own", async () => {
    const { extension, clock, get } = await start();
    extension.serviceChanged(READY);
    await clock.advance(61_500);
    extension.serviceChanged(READY);
    const available = {
      status: 200,
      type: "application/json",
      body: '{"status":"Server available","upSince":"2026-11-22T12:00:00.000Z","uptime":"1m1.5s"}',
    };
    expect(await get("/")).toEqual(available);
    expect(await get("/any?x=1", "POST")).toEqual(available);
  });

  it("is not available while a component is out of order for good, and names it in the log", async () => {
    const { extension, logger, get } = await start();
    extension.serviceChanged(READY);
    extension.serviceChanged({ ready: true, problems: [{ component: '"otlp" exporter', level: "recoverable" }] });
    expect((await get("/")).status).toBe(200);
    extension.serviceChanged({ ready: true, problems: [{ component: '"file" exporter', level: "permanent" }] });
    expect((await get("/")).status).toBe(503);
    expect(logger.all.at(-1)).toBe(
      'Health Check state change {"status":"unavailable","because":"\\"file\\" exporter"}',
    );
    extension.serviceChanged(READY);
    expect((await get("/")).status).toBe(200);
  });

  it("answers its path only, with the file's own words when it has some", async () => {
    const { extension, get } = await start({
      path: "/health",
      response_body: { healthy: "I'm good", unhealthy: "bad" },
    });
    expect(await get("/health")).toEqual({ status: 503, type: "text/plain; charset=utf-8", body: "bad" });
    extension.serviceChanged(READY);
    expect(await get("/health?x=1")).toEqual({ status: 200, type: "text/plain; charset=utf-8", body: "I'm good" });
    for (const path of ["/", "/health/", "/health/x"])
      expect(await get(path)).toEqual({
        status: 404,
        type: "text/plain; charset=utf-8",
        body: "404 page not found\n",
      });
  });

  it("names the key and the holder when its port is taken", async () => {
    const { logger } = await start();
    const endpoint = logger.url.replace("http://", "");
    await expect(start({ endpoint })).rejects.toThrow(
      new RegExp(`listen tcp ${endpoint}: bind: address already in use; .*extensions::health_check::endpoint`),
    );
  });

  it("warns of check_collector_pipeline when it is switched on", async () => {
    const { logger } = await start({ check_collector_pipeline: { enabled: true } });
    expect(logger.all[0]).toMatch(/^warn check_collector_pipeline is accepted and has no effect/);
  });

  it("can be stopped before it was started, and twice", async () => {
    const configured = healthCheckExtensionFactory.configure(null);
    expect(configured.listens).toEqual([{ path: ["endpoint"], address: "localhost:13133" }]);
    const extension = configured.create(testSettings("health_check"));
    await extension.shutdown(AbortSignal.timeout(1000));
    const running = await start();
    await running.extension.shutdown();
    await running.extension.shutdown();
    await expect(running.get("/")).rejects.toThrow();
  });
});

describe("healthCheckExtensionFactory", () => {
  it("refuses what it cannot do, with the key", () => {
    const wrong = () => healthCheckExtensionFactory.configure({ path: "x", tls: {}, endpont: "", endpoint: "5" });
    expect(wrong).toThrow(ConfigErrors);
    try {
      wrong();
    } catch (error) {
      expect((error as ConfigErrors).issues.map((issue) => issue.path.join("::")).sort()).toEqual([
        "endpoint",
        "endpont",
        "path",
        "tls",
      ]);
    }
  });
});
