import { describe, expect, it } from "vitest";
import { parseGrpcTarget } from "./grpc-target.ts";

describe("parseGrpcTarget", () => {
  it.each([
    ["localhost:4317", "dns:///localhost:4317", ""],
    [":4317", "dns:///localhost:4317", ""],
    ["10.0.0.1:4317", "dns:///10.0.0.1:4317", ""],
    ["[::1]:4317", "dns:///[::1]:4317", ""],
    ["http://jaeger:4317", "dns:///jaeger:4317", "http"],
    ["https://jaeger:4317", "dns:///jaeger:4317", "https"],
    ["dns:///jaeger:4317", "dns:///jaeger:4317", ""],
    ["dns://10.0.0.53/jaeger:4317", "dns://10.0.0.53/jaeger:4317", ""],
    ["passthrough:///jaeger:4317", "dns:///jaeger:4317", ""],
    ["unix:///run/otlp.sock", "unix:/run/otlp.sock", ""],
    ["unix:otlp.sock", "unix:otlp.sock", ""],
  ])("reads %s", (endpoint, target, scheme) => {
    expect(parseGrpcTarget(endpoint)).toEqual({ target, scheme });
  });

  it.each([
    ["", 'requires a non-empty "endpoint"'],
    ["localhost", "address localhost: missing port in address; for example localhost:4317"],
    ["http://jaeger", "address jaeger: missing port in address; for example jaeger:4317"],
    ["::1:4317", "address ::1:4317: too many colons in address; write an IPv6 address in brackets, such as [::1]:4317"],
    ["jaeger:grpc", 'address jaeger:grpc: invalid port "grpc"'],
    ["jaeger:70000", 'address jaeger:70000: invalid port "70000"'],
    [
      "http://jaeger:4318/v1/traces",
      'address jaeger:4318/v1/traces: a gRPC endpoint is host:port without a path; remove "/v1/traces", or use the otlp_http exporter for OTLP/HTTP',
    ],
    ["unix://", "unix socket path cannot be empty"],
    ["xds:///jaeger:4317", 'scheme "xds" is not supported; write host:port, http://, https://, dns:/// or unix:///'],
  ])("says what is wrong with %j", (endpoint, message) => {
    expect(parseGrpcTarget(endpoint)).toBe(message);
  });
});
