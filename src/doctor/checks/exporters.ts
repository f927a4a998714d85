/** Where traces go: whether a span arrived, and if not, why. */
import type { ExporterFacts, PeerFacts } from "../facts.ts";
import type { CheckName, Draft } from "../finding.ts";
import { listText } from "../words.ts";

/** google.rpc.Code */
const UNIMPLEMENTED = 12;
const UNAVAILABLE = 14;
const UNKNOWN = 2;
/** Answers of a server that knows OTLP and will not have this request: proof that it is the right one. */
const REFUSALS = new Set([7, 8, 16]);

/** What is wrong with the way to one backend, or that nothing is. */
export function checkExporter(exporter: ExporterFacts): Draft {
  const { sent, peer } = exporter;
  if (sent.ok) return isOtlp(exporter) ? checkQuery(exporter, sent.traceId) : notOtlp(exporter);
  if (peer && peer.connectCode !== "") return unreachable(exporter, peer.connectCode);
  return (peer && mismatch(exporter, peer)) ?? refused(exporter, sent.message, sent.grpcCode);
}

/** Jaeger's UI, like many web servers, answers any POST with 200 and a page. */
function isOtlp({ protocol, peer }: ExporterFacts): boolean {
  return protocol === "grpc" || !peer || !/^text\/html/i.test(peer.httpType);
}

function notOtlp(exporter: ExporterFacts): Draft {
  return draft(exporter, "jaeger-without-otlp", {
    found: `${exporter.endpoint} answers with a web page: it is no OTLP port`,
    wanted: "an OTLP/HTTP port, 4318 unless it was changed",
    change: `${settingOf(exporter, "endpoint")}: http://${exporter.host}:4318`,
  });
}

function checkQuery(exporter: ExporterFacts, traceId: string): Draft {
  const { endpoint, query, path } = exporter;
  const took = `${endpoint} took a span`;
  if (!query) return { check: "backend", severity: "ok", found: took, path };
  const { url, result } = query;
  if (result === "found") return { check: "backend", severity: "ok", found: `${took}, and ${url} has it`, path };
  if (result === "missing")
    return draft(exporter, "trace-not-found", {
      found: `${took}, and ${url} does not have trace ${traceId}`,
      wanted: "the span in the Jaeger that is looked at",
      change: `${settingOf(exporter, "endpoint")}: the address of that Jaeger, or --jaeger-query of the other one; Jaeger's own log says whether its storage fails`,
    });
  return draft(exporter, "trace-not-found", {
    severity: "warning",
    found: `${took}, and whether it is in Jaeger cannot be seen: ${result.problem}`,
    wanted: "the address of Jaeger's UI, such as http://localhost:16686",
    change: "--jaeger-query http://HOST:16686",
  });
}

function unreachable(exporter: ExporterFacts, code: string): Draft {
  const { host, port, endpoint, jaegerPorts, protocol } = exporter;
  if (code === "ECONNREFUSED" && jaegerPorts.length > 0)
    return draft(exporter, "jaeger-without-otlp", {
      found: `nothing listens on ${host}:${port}, while a Jaeger answers there on ${listText(jaegerPorts.map(String))}`,
      wanted: "Jaeger's OTLP receiver",
      change: `start Jaeger with COLLECTOR_OTLP_ENABLED=true (1.35 to 1.57; its default later), or ${settingOf(exporter, "endpoint")}: the port of its --collector.otlp.${protocol}.host-port`,
    });
  if (code === "ECONNREFUSED")
    return draft(exporter, "jaeger-down", {
      found: `nothing listens on ${host}:${port}`,
      wanted: `Jaeger at ${endpoint}`,
      change: `start Jaeger, or ${settingOf(exporter, "endpoint")}: where it is; omnishim queues until it answers`,
    });
  const why =
    code === "ENOTFOUND" || code === "EAI_AGAIN"
      ? `${host} is not known to the name service`
      : `${host}:${port} cannot be reached (${code})`;
  return draft(exporter, "backend-unreachable", {
    found: why,
    wanted: `a connection to ${endpoint}`,
    change: `${settingOf(exporter, "endpoint")}: a host that can be reached${code === "ETIMEDOUT" ? ", or open the port in the firewall" : ""}`,
  });
}

/** TLS or protocol do not match what the port speaks. */
function mismatch(exporter: ExporterFacts, peer: PeerFacts): Draft | undefined {
  const { sent, protocol, usesTls, host, port } = exporter;
  const code = sent.ok ? undefined : sent.grpcCode;
  if (code !== undefined && REFUSALS.has(code)) return undefined;
  const at = `${host}:${port}`;
  if (usesTls && !peer.tls && (peer.http1 || peer.http2))
    return draft(exporter, "tls-to-plain", {
      found: `the exporter speaks TLS and ${at} does not`,
      wanted: "TLS on both sides or on neither",
      change:
        protocol === "grpc"
          ? `${settingOf(exporter, "tls", "insecure")}: true`
          : `${urlSetting(exporter)}: http://${at}`,
      path: protocol === "grpc" ? ["tls", "insecure"] : ["endpoint"],
    });
  if (!usesTls && peer.tls)
    return draft(exporter, "plain-to-tls", {
      found: `the exporter speaks without TLS and ${at} has TLS`,
      wanted: "TLS on both sides or on neither",
      change:
        protocol === "grpc"
          ? `${settingOf(exporter, "tls", "insecure")}: false, and ${settingOf(exporter, "tls", "ca_file")}: the authority's certificate when it is your own`
          : `${urlSetting(exporter)}: https://${at}`,
      path: protocol === "grpc" ? ["tls", "insecure"] : ["endpoint"],
    });
  const speaksHttp2 = peer.tls ? peer.alpn === "h2" : peer.http2;
  const speaksHttp1 = peer.tls ? peer.alpn !== "h2" || peer.http1 : peer.http1;
  const pointsAway = !sent.ok && /4318|otlp_http|OTLP\/HTTP/.test(sent.message) && code === UNIMPLEMENTED;
  if (protocol === "grpc" && speaksHttp1 && (!speaksHttp2 || pointsAway))
    return draft(exporter, "grpc-to-http", {
      found: `the exporter speaks gRPC and ${at} is an HTTP port`,
      wanted: "Jaeger's OTLP/gRPC port, 4317 unless it was changed, or an exporter for HTTP",
      change: `${settingOf(exporter, "endpoint")}: ${host}:4317, or otlp_http with endpoint ${peer.tls ? "https" : "http"}://${at}`,
    });
  if (protocol === "http" && speaksHttp2 && (!speaksHttp1 || isWrongDoor(exporter)))
    return draft(exporter, "http-to-grpc", {
      found: `the exporter speaks HTTP/1.1 and ${at} is a gRPC port`,
      wanted: "Jaeger's OTLP/HTTP port, 4318 unless it was changed, or an exporter for gRPC",
      change: `${urlSetting(exporter)}: ${peer.tls ? "https" : "http"}://${host}:4318, or otlp_grpc with endpoint ${at}`,
    });
  const knowsNoOtlp =
    protocol === "grpc" ? code === UNIMPLEMENTED : !sent.ok && /HTTP Status Code (?:404|405|501)\b/.test(sent.message);
  if (knowsNoOtlp)
    return draft(exporter, "jaeger-without-otlp", {
      found: `${at} speaks ${protocol === "grpc" ? "gRPC" : "HTTP"} and knows no OTLP traces: ${sent.ok ? "" : sent.message}`,
      wanted: `Jaeger's OTLP port, ${protocol === "grpc" ? 4317 : 4318} unless it was changed`,
      change: `${settingOf(exporter, "endpoint")}: ${protocol === "grpc" ? `${host}:4317` : `http://${host}:4318`} (14250 is Jaeger's own protocol, 16686 its UI)`,
    });
  return undefined;
}

/** omnishim's own gRPC port, and some others, tell an HTTP/1.1 client so with 400. */
function isWrongDoor({ sent }: ExporterFacts): boolean {
  return !sent.ok && /HTTP Status Code 400\b/.test(sent.message);
}

function refused(exporter: ExporterFacts, message: string, code: number | undefined): Draft {
  if (/certificate|self[- ]signed|altname/i.test(message))
    return draft(exporter, "tls-certificate", {
      found: `the certificates do not fit: ${message}`,
      wanted: "a certificate for this host, signed by an authority that is known here",
      change: `${settingOf(exporter, "tls", "ca_file")}: the authority's certificate, or ${settingOf(exporter, "tls", "server_name_override")}: the certificate's name`,
      path: ["tls"],
    });
  const temporary = code === undefined || code === UNAVAILABLE || code === UNKNOWN;
  return draft(exporter, "backend-refuses", {
    found: `${exporter.endpoint} does not take a span: ${message}`,
    wanted: "an answer that the span was taken",
    change: temporary
      ? `look at the log of ${exporter.host}:${exporter.port}; ${settingOf(exporter, "endpoint")} when it is the wrong one`
      : `${settingOf(exporter, "headers")} or ${settingOf(exporter, "auth")}: what that server asks for`,
  });
}

function draft(
  exporter: ExporterFacts,
  check: CheckName,
  said: { severity?: Draft["severity"]; found: string; wanted: string; change: string; path?: readonly string[] },
): Draft {
  const { severity = "error", path = ["endpoint"], found, wanted, change } = said;
  return { check, severity, found, wanted, change, path: [...exporter.path, ...path] };
}

function settingOf({ path }: ExporterFacts, ...keys: readonly string[]): string {
  return [...path, ...keys].join("::");
}

function urlSetting(exporter: ExporterFacts): string {
  return settingOf(exporter, "endpoint");
}
