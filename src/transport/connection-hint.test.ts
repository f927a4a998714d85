import { describe, expect, it } from "vitest";
import { connectionHint } from "./connection-hint.ts";

const grpc = { tls: false, protocol: "grpc" } as const;
const grpcTls = { tls: true, protocol: "grpc" } as const;
const http = { tls: false, protocol: "http" } as const;
const https = { tls: true, protocol: "http" } as const;

describe("connectionHint", () => {
  it.each([
    [
      "Error: 800C0F34AF7F0000:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:",
      grpcTls,
      "tls::insecure: true",
    ],
    ["write EPROTO SSL routines:ssl3_get_record:packet length too long", https, "http:// instead of https://"],
    ["SSL routines:ssl3_read_bytes:tlsv1 alert no application protocol", grpcTls, "use the otlp_http exporter"],
    ["self-signed certificate in certificate chain (SELF_SIGNED_CERT_IN_CHAIN)", https, "tls::ca_file"],
    ["unable to verify the first certificate", grpcTls, "tls::ca_file"],
    ["unable to get local issuer certificate", https, "tls::ca_file"],
    [
      "Hostname/IP does not match certificate's altnames: Host: a. is not in the cert's",
      grpcTls,
      "server_name_override",
    ],
    ["certificate has expired (CERT_HAS_EXPIRED)", https, "renew it"],
    ["SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:SSL alert number 116", grpcTls, "tls::cert_file"],
    ["SSL routines: tlsv1 alert protocol version", grpcTls, "no TLS version in common"],
    ["SSL routines:tls_process_server_hello:unsupported protocol", https, "no TLS version in common"],
    ["socket hang up", grpcTls, "it may have refused this side's certificate or its absence"],
    ["Failed to connect (2026-11-22T19:33:19.019Z)", grpc, "it may want TLS"],
    ["other side closed (UND_ERR_SOCKET)", http, "it may want TLS"],
    ["Protocol error (2026-11-22T19:33:19.089Z)", grpc, "use the otlp_http exporter"],
    ["Parse Error: Expected HTTP/, RTSP/ or ICE/ (HPE_INVALID_CONSTANT)", http, "use the otlp_grpc exporter"],
    ["connect ECONNREFUSED 127.0.0.1:4317", grpc, "nothing listens there"],
    ["getaddrinfo ENOTFOUND jaeger", http, "the host name is not known"],
    ["Name resolution failed for target dns:jaeger:4317", grpc, "the host name is not known"],
  ])("says what to change for %j", (message, attempt, hint) => {
    expect(connectionHint(message, attempt)).toContain(hint);
  });

  it.each([
    ["queue is full", grpc],
    ["read ETIMEDOUT", https],
  ])("says nothing for %j", (message, attempt) => {
    expect(connectionHint(message, attempt)).toBeUndefined();
  });
});
