/** What a failed connection most likely means, and which setting to change. Pure: looks at messages only. */

/** How the connection was attempted. */
export interface Attempt {
  readonly tls: boolean;
  readonly protocol: "grpc" | "http";
}

interface Hint {
  readonly pattern: RegExp;
  /** Undefined: either way. */
  readonly tls?: boolean;
  readonly protocol?: Attempt["protocol"];
  readonly text: string;
}

/** Messages of OpenSSL, Node and grpc-js; the first match counts. */
const HINTS: readonly Hint[] = [
  {
    pattern: /wrong version number|packet length too long|EPROTO.*http request/i,
    tls: true,
    protocol: "grpc",
    text: "first record does not look like a TLS handshake: the peer speaks no TLS; set tls::insecure: true, or give endpoint a port with TLS",
  },
  {
    pattern: /wrong version number|packet length too long|EPROTO.*http request/i,
    tls: true,
    text: "first record does not look like a TLS handshake: the peer speaks no TLS; write http:// instead of https:// in endpoint",
  },
  {
    pattern: /alert protocol version|alert number 70|unsupported protocol/i,
    tls: true,
    text: "the two sides have no TLS version in common; look at tls::min_version and tls::max_version of both",
  },
  {
    pattern: /no application protocol/i,
    tls: true,
    protocol: "grpc",
    text: "the peer speaks TLS but not HTTP/2: if it is an OTLP/HTTP port (4318), use the otlp_http exporter",
  },
  {
    pattern: /self[- ]signed|unable to (?:verify|get)|UNABLE_TO_|SELF_SIGNED/i,
    tls: true,
    text: "the peer's certificate is not signed by a known authority; set tls::ca_file to the authority's certificate",
  },
  {
    pattern: /altname|ERR_TLS_CERT_ALTNAME_INVALID/i,
    tls: true,
    text: "the peer's certificate is for another name; change the host in endpoint or set tls::server_name_override",
  },
  {
    pattern: /certificate has expired|CERT_HAS_EXPIRED/i,
    tls: true,
    text: "the peer's certificate has expired; renew it",
  },
  {
    pattern:
      /alert (?:certificate required|bad certificate|unknown ca|handshake failure)|alert number (?:116|42|48|40)/i,
    tls: true,
    text: "the peer refused this side's certificate or its absence; set tls::cert_file and tls::key_file",
  },
  {
    pattern: /Protocol error|Parse Error|^HPE_/i,
    tls: false,
    protocol: "grpc",
    text: "the peer does not speak HTTP/2: if it is an OTLP/HTTP port (4318), use the otlp_http exporter",
  },
  {
    pattern: /Failed to connect|socket hang up|ECONNRESET|other side closed|before starting HTTP\/2/i,
    tls: false,
    text: "the peer closed the connection without a word: it may want TLS (unset tls::insecure, or write https://), or speak another protocol",
  },
  {
    // What a server does that asks for certificates and sends no alert: Node's.
    pattern: /Failed to connect|socket hang up|ECONNRESET|other side closed/i,
    tls: true,
    text: "the peer closed the connection without a word: it may have refused this side's certificate or its absence (tls::cert_file and tls::key_file)",
  },
  {
    pattern: /Parse Error|HPE_|Expected HTTP/i,
    protocol: "http",
    text: "the peer does not speak HTTP/1.1: if it is an OTLP/gRPC port (4317), use the otlp_grpc exporter",
  },
  {
    pattern: /ECONNREFUSED/,
    text: "nothing listens there; start the peer or change endpoint",
  },
  {
    pattern: /ENOTFOUND|EAI_AGAIN|Name resolution failed/,
    text: "the host name is not known; change endpoint or the name service",
  },
];

/** A sentence to add to the message, or undefined when it says enough. */
export function connectionHint(message: string, attempt: Attempt): string | undefined {
  return HINTS.find(
    ({ pattern, tls, protocol }) =>
      pattern.test(message) &&
      (tls === undefined || tls === attempt.tls) &&
      (protocol === undefined || protocol === attempt.protocol),
  )?.text;
}
