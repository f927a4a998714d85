import { describe, expect, it } from "vitest";
import type { Configured } from "../../kernel/api.ts";
import { ConfigErrors, type ConfigIssue } from "../../kernel/errors.ts";
import { otlpReceiverFactory } from "./factory.ts";

const configure = (section: unknown): Configured<unknown> => otlpReceiverFactory.configure(section);
const issues = (section: unknown): readonly ConfigIssue[] => {
  try {
    configure(section);
  } catch (error) {
    if (error instanceof ConfigErrors) return error.issues;
    throw error;
  }
  return [];
};
type Shown = { protocols: { grpc?: Record<string, unknown>; http?: Record<string, unknown> } };
const shown = (section: unknown): Shown => configure(section).effective as Shown;

describe("otlpReceiverFactory", () => {
  it("turns a protocol on when its key is there, even without a value", () => {
    const { protocols } = shown({ protocols: { grpc: null } });
    expect(protocols.grpc?.["endpoint"]).toBe("localhost:4317");
    expect(protocols.http).toBeUndefined();
    expect(shown({ protocols: { grpc: {}, http: null } }).protocols.http?.["endpoint"]).toBe("localhost:4318");
  });

  it.each([null, {}, { protocols: null }, { protocols: {} }])("refuses %j: no protocol", (section) => {
    expect(issues(section)).toEqual([
      expect.objectContaining({ path: [], message: "must specify at least one protocol when using the OTLP receiver" }),
    ]);
  });

  it("has the Collector's defaults", () => {
    const { grpc, http } = shown({ protocols: { grpc: null, http: null } }).protocols;
    expect(grpc).toMatchObject({
      transport: "tcp",
      max_recv_msg_size_mib: 0,
      max_concurrent_streams: 0,
      read_buffer_size: 524_288,
      write_buffer_size: 0,
      include_metadata: false,
      keepalive: {
        server_parameters: {
          max_connection_idle: "0s",
          max_connection_age: "0s",
          max_connection_age_grace: "0s",
          time: "0s",
          timeout: "0s",
        },
        enforcement_policy: { min_time: "0s", permit_without_stream: false },
      },
    });
    expect(http).toMatchObject({
      traces_url_path: "/v1/traces",
      metrics_url_path: "/v1/metrics",
      logs_url_path: "/v1/logs",
      compression_algorithms: ["", "gzip", "zstd", "zlib", "snappy", "deflate", "lz4", "x-snappy-framed"],
      include_metadata: false,
      response_headers: {},
      keep_alives_enabled: true,
      read_timeout: "0s",
      read_header_timeout: "0s",
      write_timeout: "0s",
      idle_timeout: "0s",
    });
  });

  it("takes every key of the Collector 0.103 and 0.159 that it does not refuse", () => {
    const common = {
      endpoint: "0.0.0.0:1",
      transport: "tcp",
      include_metadata: true,
      middlewares: [],
      dialer: { timeout: "1s" },
    };
    expect(
      issues({
        protocols: {
          grpc: {
            ...common,
            max_recv_msg_size_mib: 64,
            max_concurrent_streams: 16,
            read_buffer_size: 1024,
            write_buffer_size: 1024,
            keepalive: {
              server_parameters: {
                max_connection_idle: "11s",
                max_connection_age: "12s",
                max_connection_age_grace: "13s",
                time: "30s",
                timeout: "5s",
              },
              enforcement_policy: { min_time: "10s", permit_without_stream: true },
            },
          },
          http: {
            ...common,
            endpoint: "0.0.0.0:2",
            max_request_body_size: 1000,
            compression_algorithms: ["gzip", ""],
            response_headers: { "X-A": "b" },
            cors: { allowed_origins: ["*"], allowed_headers: ["*"], exposed_headers: ["x"], max_age: 7200 },
            keep_alives_enabled: false,
            read_timeout: "1s",
            read_header_timeout: "1s",
            write_timeout: "1s",
            idle_timeout: "1s",
            traces_url_path: "v1/traces",
            metrics_url_path: "/m",
            logs_url_path: "/l",
          },
        },
      }),
    ).toEqual([]);
  });

  it("refuses an auth section that names nobody, and middlewares, rather than leaving a port open", () => {
    const found = issues({
      protocols: {
        grpc: { auth: {} },
        http: { middlewares: ["limit"], auth: { authenticator: "bearertokenauth", request_params: ["token"] } },
      },
    });
    expect(found.map((issue) => issue.path.join("::")).sort()).toEqual([
      "protocols::grpc::auth::authenticator",
      "protocols::http::auth::request_params",
      "protocols::http::middlewares",
    ]);
  });

  it("says which authenticators it needs", () => {
    const protocols = { grpc: { auth: { authenticator: "basicauth" } }, http: { auth: { authenticator: "b/x" } } };
    expect(otlpReceiverFactory.configure({ protocols }).extensions).toEqual([
      { path: ["protocols", "grpc", "auth", "authenticator"], id: "basicauth" },
      { path: ["protocols", "http", "auth", "authenticator"], id: "b/x" },
    ]);
  });

  it("names every wrong key and value at once", () => {
    const found = issues({
      protocols: {
        grpc: { endpont: "x", max_recv_msg_size_mib: -1, keepalive: { server_parameters: { time: "soon" } } },
        http: { endpoint: "localhost", compression_algorithms: ["brotli"], transport: "carrier pigeon" },
      },
    });
    expect(found.map((issue) => issue.path.join("::")).sort()).toEqual([
      "protocols::grpc::endpont",
      "protocols::grpc::keepalive::server_parameters::time",
      "protocols::grpc::max_recv_msg_size_mib",
      "protocols::http::compression_algorithms::0",
      "protocols::http::endpoint",
      "protocols::http::transport",
    ]);
    expect(found.find((issue) => issue.atKey)?.hint).toContain("did you mean `endpoint`?");
  });

  it("takes a bare socket path only with transport: unix", () => {
    expect(issues({ protocols: { grpc: { endpoint: "/run/x.sock", transport: "unix" } } })).toEqual([]);
    expect(issues({ protocols: { grpc: { endpoint: "/run/x.sock" } } })).toEqual([
      expect.objectContaining({ path: ["protocols", "grpc", "endpoint"] }),
    ]);
  });

  it("says where it will listen", () => {
    expect(configure({ protocols: { grpc: null, http: { endpoint: "unix:///run/x.sock" } } }).listens).toEqual([
      { path: ["protocols", "grpc", "endpoint"], address: "localhost:4317" },
      { path: ["protocols", "http", "endpoint"], address: "unix:/run/x.sock" },
    ]);
  });

  it("hides response header values in what it shows", () => {
    const { http } = shown({ protocols: { http: { response_headers: { "X-Key": "s3cret" } } } }).protocols;
    expect(http?.["response_headers"]).toEqual({ "X-Key": "[REDACTED]" });
  });
});
