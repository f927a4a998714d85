/** What the probes find out, and all that the checks know. Plain data: nothing here reads anything. */
import type { Sample } from "./samples.ts";

/** Everything. */
export interface Facts {
  readonly host: HostFacts;
  /** The omnishim that runs with this configuration; undefined when none does. */
  readonly running: RunningFacts | undefined;
  /** Key path of the request_merge connector; ["connectors", "request_merge"] unless it has another name. */
  readonly mergePath: readonly string[];
  /** Names and addresses that mean this machine. */
  readonly localHosts: readonly string[];
  readonly ports: readonly PortFacts[];
  readonly senders: readonly SenderFacts[];
  readonly exporters: readonly ExporterFacts[];
  readonly logs: readonly LogFacts[];
  readonly queues: readonly QueueFacts[];
  readonly certificates: readonly CertificateFacts[];
}

export interface HostFacts {
  /** "20.20.2". */
  readonly nodeVersion: string;
  /** The oldest one that the program runs on. */
  readonly oldestNode: string;
  /** How many files the program may have open; undefined where the system does not say. */
  readonly openFiles: number | undefined;
  /** Whose limit that is: "omnishim (pid 4711)", "a program started from this shell". */
  readonly openFilesOf: string;
}

/** A running omnishim, as its metrics page tells. */
export interface RunningFacts {
  /** Undefined when the system does not let see who holds its ports. */
  readonly pid: number | undefined;
  readonly url: string;
  readonly samples: readonly Sample[];
}

/** An address that the configuration makes the program bind. */
export interface PortFacts {
  readonly path: readonly string[];
  readonly use: "otlp" | "metrics" | "other";
  /** Of an OTLP port. */
  readonly protocol: "grpc" | "http" | undefined;
  readonly usesTls: boolean;
  /** As configured: "localhost:4317". */
  readonly address: string;
  readonly port: number;
  /** Only this machine can reach it. */
  readonly isLoopback: boolean;
  readonly state:
    | { readonly kind: "free" }
    /** The omnishim that runs holds it. */
    | { readonly kind: "ours"; readonly pid: number | undefined }
    | { readonly kind: "taken"; readonly holder: HolderFacts | undefined }
    /** No such address, not allowed, unknown name. */
    | { readonly kind: "unusable"; readonly problem: string };
}

export interface HolderFacts {
  readonly pid: number;
  readonly command: string;
}

/** Somebody who sends spans here, or should. */
export interface SenderFacts {
  /** Host name or address. */
  readonly host: string;
  /** It is this machine, by whichever of its addresses; undefined when the name is not known. */
  readonly isLocal: boolean | undefined;
  /** How that is known: "--vllm", "an upstream in /var/log/omni/nginx_error.log". */
  readonly from: string;
  /** What it exports to, when that can be seen: `--otlp-traces-endpoint` of a process on this machine. */
  readonly endpoint?: { readonly url: string; readonly protocol: "grpc" | "http/protobuf" };
}

/** Where traces go. */
export interface ExporterFacts {
  /** ["exporters", "otlp"]. */
  readonly path: readonly string[];
  readonly protocol: "grpc" | "http";
  /** As configured, without user and password. */
  readonly endpoint: string;
  readonly host: string;
  readonly port: number;
  readonly usesTls: boolean;
  /** What came of a span that was sent. */
  readonly sent:
    | { readonly ok: true; readonly traceId: string }
    | { readonly ok: false; readonly message: string; readonly grpcCode: number | undefined };
  /** What was found at host and port, without the exporter; undefined where there is none to look at (a proxy, a Unix socket). */
  readonly peer: PeerFacts | undefined;
  /** Ports of a Jaeger that accept connections on `host`, when `port` does not. */
  readonly jaegerPorts: readonly number[];
  /** Whether the span could be read again from --jaeger-query; undefined when not asked for. */
  readonly query:
    | { readonly url: string; readonly result: "found" | "missing" | { readonly problem: string } }
    | undefined;
}

/** What a port speaks. */
export interface PeerFacts {
  /** "" when a connection could be made, else the system's code: "ECONNREFUSED", "ENOTFOUND", "ETIMEDOUT". */
  readonly connectCode: string;
  readonly tls: boolean;
  /** The protocol that a peer with TLS chose: "h2", "http/1.1", "". */
  readonly alpn: string;
  /** Answers HTTP/2 with prior knowledge, as gRPC servers do (inside of TLS when it has TLS). */
  readonly http2: boolean;
  /** Answers HTTP/1.1 (inside of TLS when it has TLS). */
  readonly http1: boolean;
  /** Content-Type of its answer to an empty OTLP/HTTP request, "" when there was none. */
  readonly httpType: string;
}

/** One entry of `include`. */
export interface LogFacts {
  readonly path: readonly string[];
  readonly pattern: string;
  /** Folders that could not be listed. */
  readonly unlistable: readonly { readonly folder: string; readonly code: string }[];
  /** What it stands for; a plain path is here whether or not it exists. */
  readonly files: readonly LogFileFacts[];
}

export interface LogFileFacts {
  readonly file: string;
  /** Why it cannot be read: "ENOENT", "EACCES"; "" when it can. */
  readonly code: string;
  /** Undefined when it cannot be read. */
  readonly content: LogContent | undefined;
}

/** What the end of a log tells. */
export interface LogContent {
  readonly kind: "empty" | "error_log" | "access_log" | "omnilogger" | "unknown";
  /** Lines of level info or debug since the proxy's last start, as far as they were read. */
  readonly infoLines: number;
  /** Since then, something was written that level info would have accompanied: a start of workers, or a request. */
  readonly isTelling: boolean;
  /** Ids of its last requests, oldest first, as text; "" for a request without one. */
  readonly requestIds: readonly string[];
  /** Hosts of the upstreams (vLLM) that it names. */
  readonly upstreams: readonly string[];
}

/** Where a durable queue is. */
export interface QueueFacts {
  readonly path: readonly string[];
  readonly directory: string;
  /** "" when it, or the folder that it will be made in, can be written to, else the system's code. */
  readonly code: string;
  /** Bytes that the user may still write there; undefined when the system does not say. */
  readonly freeBytes: number | undefined;
  /** Files that can still be made; undefined for file systems that do not count them. */
  readonly freeInodes: number | undefined;
  /** `max_size_mib`, less what is in it already. */
  readonly wantedBytes: number;
}

/** A file that a `tls` section names. */
export interface CertificateFacts {
  readonly path: readonly string[];
  readonly file: string;
  /** "" when it can be read, else the system's code. */
  readonly code: string;
  /** Days until the first certificate in it expires, negative when it has; undefined when it holds none. */
  readonly daysLeft: number | undefined;
}
