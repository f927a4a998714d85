/** One HTTP/2 connection of the gRPC server: its calls, its keepalive, its way out. */
import { constants, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { Call, type CallHost } from "./call.ts";
import { type EnforcementPolicy, Keepalive, type KeepaliveParameters, type Kept, PingPolicy } from "./keepalive.ts";

/** What the connections of a server have in common. */
export interface ConnectionOptions extends Omit<CallHost, "peer" | "sent" | "ended"> {
  readonly keepalive: KeepaliveParameters;
  readonly enforcement: EnforcementPolicy;
  /** Bytes of requests that a client may send ahead on this connection and on each of its streams. */
  readonly windowBytes: number;
  /** Something worth a log line at debug level. */
  note(message: string, peer: string): void;
}

/** States: open -> draining (GOAWAY sent, calls finish, no new ones) -> closed. */
export class Connection implements CallHost, Kept {
  readonly session: ServerHttp2Session;
  readonly methods: CallHost["methods"];
  readonly maxMessageBytes: number;
  readonly includeMetadata: boolean;
  readonly clock: CallHost["clock"];
  readonly budget: CallHost["budget"];
  readonly receiveTimeoutMs: number;
  readonly maxHeaderBytes: number;
  readonly peer: string;
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>;
  readonly #options: ConnectionOptions;
  readonly #calls = new Set<Call>();
  readonly #keepalive: Keepalive;
  readonly #pings: PingPolicy;
  #draining = false;

  constructor(session: ServerHttp2Session, options: ConnectionOptions) {
    this.session = session;
    this.#options = options;
    this.methods = options.methods;
    this.maxMessageBytes = options.maxMessageBytes;
    this.includeMetadata = options.includeMetadata;
    this.clock = options.clock;
    this.budget = options.budget;
    this.receiveTimeoutMs = options.receiveTimeoutMs;
    this.maxHeaderBytes = options.maxHeaderBytes;
    const { remoteAddress, remotePort } = session.socket;
    this.peer = remoteAddress === undefined ? "" : `${remoteAddress.replace(/^::ffff:/, "")}:${remotePort}`;
    this.#pings = new PingPolicy(options.enforcement);
    this.#keepalive = new Keepalive(this, options.keepalive, options.clock);
    session.setLocalWindowSize(options.windowBytes);
    session.on("stream", (stream, headers) => this.#open(stream, headers));
    session.on("ping", () => this.#pinged());
    session.on("error", (error) => options.note(`the connection failed: ${error.message}`, this.peer));
    this.closed = new Promise((resolve) => session.once("close", resolve));
    session.on("close", () => this.#keepalive.stop());
    this.#keepalive.start();
  }

  get openStreams(): number {
    return this.#calls.size;
  }

  sent(): void {
    this.#pings.sent();
  }

  ended(call: Call): void {
    this.#calls.delete(call);
    if (this.#calls.size === 0) this.#keepalive.idle();
  }

  refused(reason: Parameters<CallHost["refused"]>[0]): void {
    this.#options.refused(reason);
  }

  /** GOAWAY: calls in progress finish, then the connection closes; calls without an end of their own are ended. */
  drain(reason: string): void {
    if (this.#draining) return;
    this.#draining = true;
    this.session.close();
    for (const call of [...this.#calls]) if (call.endless) call.cancel(`the server closes this connection (${reason})`);
  }

  /** Ends every call with UNAVAILABLE and closes at once. */
  destroy(reason: string): void {
    for (const call of [...this.#calls]) call.cancel(`the server closed this connection (${reason})`);
    this.session.destroy();
  }

  #open(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const call = new Call(stream, headers, this);
    this.#calls.add(call);
    call.open();
  }

  #pinged(): void {
    if (!this.#pings.ping(this.clock.monotonic(), this.#calls.size)) return;
    this.#options.note("the client pings too often (keepalive::enforcement_policy::min_time)", this.peer);
    this.session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from("too_many_pings"));
    this.session.destroy();
  }
}
