/** Where a gRPC `endpoint` points (configgrpc.ClientConfig: validate, sanitizedEndpoint, grpcDialTarget). */

/** A name as grpc-js resolves it, and what the endpoint says about TLS. */
export interface GrpcTarget {
  /** "dns:///localhost:4317" or "unix:/run/otlp.sock". */
  readonly target: string;
  /** https:// turns TLS on whatever `tls` says; http:// turns nothing off. */
  readonly scheme: "http" | "https" | "";
}

/**
 * Reads "localhost:4317", "http://…", "https://…", "dns:///…", "dns://server/…", "passthrough:///…", "unix:///path".
 * @returns the target, or a string that says what is wrong and what was wanted.
 */
export function parseGrpcTarget(endpoint: string): GrpcTarget | string {
  const text = endpoint.trim();
  if (text === "") return 'requires a non-empty "endpoint"';
  if (text.startsWith("unix:")) {
    const path = text.replace(/^unix:(?:\/\/(?=\/))?/, "");
    return path === "" || path === "//" ? "unix socket path cannot be empty" : { target: `unix:${path}`, scheme: "" };
  }
  const [, scheme = "", rest = ""] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(text) ?? [];
  switch (scheme) {
    case "":
    case "http":
    case "https":
      return hostPort(rest, "dns:///", scheme);
    case "passthrough":
      return hostPort(rest.replace(/^[^/]*\//, ""), "dns:///", "");
    case "dns": {
      const [, authority = "", name = ""] = /^([^/]*)\/(.*)$/s.exec(rest) ?? [undefined, "", rest];
      return hostPort(name, `dns://${authority}/`, "");
    }
    default:
      return `scheme ${JSON.stringify(scheme)} is not supported; write host:port, http://, https://, dns:/// or unix:///`;
  }
}

function hostPort(text: string, prefix: string, scheme: GrpcTarget["scheme"]): GrpcTarget | string {
  const slash = text.indexOf("/");
  if (slash >= 0)
    return `address ${text}: a gRPC endpoint is host:port without a path; remove ${JSON.stringify(text.slice(slash))}, or use the otlp_http exporter for OTLP/HTTP`;
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):([^:]*)$/.exec(text);
  if (!match)
    return /^(?:\[[^\]]*\]|[^:]*)$/.test(text)
      ? `address ${text}: missing port in address; for example ${text}:4317`
      : `address ${text}: too many colons in address; write an IPv6 address in brackets, such as [::1]:4317`;
  const [, bracketed, plain, port = ""] = match;
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) return `address ${text}: invalid port ${JSON.stringify(port)}`;
  const host = bracketed === undefined ? plain || "localhost" : `[${bracketed}]`;
  return { target: `${prefix}${host}:${port}`, scheme };
}
