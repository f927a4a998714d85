/** What a port speaks, found out by trying: TLS, HTTP/2 with prior knowledge, HTTP/1.1. */
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { PeerFacts } from "../facts.ts";

/** The connection preface and an empty SETTINGS frame (RFC 9113, sections 3.4 and 6.5). */
const HTTP2_HELLO = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);
/** The type of a SETTINGS frame stands behind its three bytes of length; every server begins with one. */
const SETTINGS = 4;
/** Enough for a status line and the headers of an answer. */
const MOST_BYTES = 4096;

/** Who to look at. */
export interface PeerAddress {
  readonly host: string;
  readonly port: number;
  /** Name to ask for in TLS, "" for the host. */
  readonly serverName: string;
  /** Path that an OTLP/HTTP request goes to. */
  readonly path: string;
}

/** Looks at a peer with some short connections; never rejects. An empty OTLP request is the most that it sends, which stores nothing. */
export async function lookAtPeer(address: PeerAddress, timeoutMs: number): Promise<PeerFacts> {
  const connectCode = await tryConnect(address, timeoutMs);
  const nothing = { tls: false, alpn: "", http2: false, http1: false, httpType: "" };
  if (connectCode !== "") return { connectCode, ...nothing };
  const tls = await tryTls(address, timeoutMs);
  const [hello, http] = await Promise.all([
    converse(() => open(address, tls.tls ? ["h2"] : undefined), HTTP2_HELLO, timeoutMs),
    converse(() => open(address, tls.tls ? ["http/1.1"] : undefined), httpRequest(address), timeoutMs),
  ]);
  const answer = /^HTTP\/1\.[01] \d{3}/.test(http);
  return {
    connectCode,
    tls: tls.tls,
    alpn: tls.alpn,
    http2: hello.length > 3 && hello.charCodeAt(3) === SETTINGS && hello.charCodeAt(0) === 0,
    http1: answer,
    httpType: answer ? (/^content-type: *([^\r\n]*)/im.exec(http)?.[1] ?? "") : "",
  };
}

function tryConnect({ host, port }: PeerAddress, timeoutMs: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host, port, timeout: timeoutMs });
    const done = (code: string): void => {
      socket.destroy();
      resolve(code);
    };
    socket.once("connect", () => done(""));
    socket.once("timeout", () => done("ETIMEDOUT"));
    socket.once("error", (error: NodeJS.ErrnoException) => done(codeOf(error)));
  });
}

/** Several addresses of one name fail together, as an AggregateError with the code of the first. */
function codeOf(error: NodeJS.ErrnoException): string {
  return error.code ?? (error instanceof AggregateError ? codeOf(error.errors[0] as Error) : error.message);
}

/** Whether a TLS handshake comes about, and with which protocol; certificates are not judged here. */
function tryTls(address: PeerAddress, timeoutMs: number): Promise<{ tls: boolean; alpn: string }> {
  return new Promise((resolve) => {
    const socket = openTls(address, ["h2", "http/1.1"]);
    const done = (tls: boolean): void => {
      clearTimeout(timer);
      resolve({ tls, alpn: socket.alpnProtocol || "" });
      socket.destroy();
    };
    const timer = setTimeout(() => done(false), timeoutMs);
    socket.once("secureConnect", () => done(true));
    // An alert is TLS too (a certificate is wanted, no common protocol), but for handshake_failure, by which plain ports turn TLS away.
    socket.once("error", (error: NodeJS.ErrnoException) =>
      done(
        /alert/i.test(`${error.code} ${error.message}`) && !/handshake.failure/i.test(`${error.code} ${error.message}`),
      ),
    );
    socket.once("close", () => done(false));
  });
}

function openTls({ host, port, serverName }: PeerAddress, alpn: string[]): TLSSocket {
  const name = serverName || host;
  const isAddress = /^[\d.]+$|:/.test(name);
  return connectTls({
    host,
    port,
    rejectUnauthorized: false,
    ALPNProtocols: alpn,
    ...(isAddress ? {} : { servername: name }),
  });
}

function open(address: PeerAddress, alpn: string[] | undefined): Socket {
  return alpn ? openTls(address, alpn) : connectTcp({ host: address.host, port: address.port });
}

/** Sends `bytes` and gives the first of the answer, as Latin-1; "" when none came in time. */
function converse(dial: () => Socket, bytes: Buffer, timeoutMs: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = dial();
    let heard = "";
    const done = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(heard);
    };
    const timer = setTimeout(done, timeoutMs);
    socket.on("data", (chunk: Buffer) => {
      heard += chunk.toString("latin1");
      if (heard.length >= MOST_BYTES || heard.includes("\r\n\r\n") || (heard.length > 8 && heard.charCodeAt(0) === 0))
        done();
    });
    socket.once("error", done).once("close", done);
    socket.write(bytes);
  });
}

function httpRequest({ host, port, path }: PeerAddress): Buffer {
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: ${host.includes(":") ? `[${host}]` : host}:${port}\r\nUser-Agent: omnishim-doctor\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
  );
}

/** Which of `ports` accept connections on `host`. */
export async function openPorts(host: string, ports: readonly number[], timeoutMs: number): Promise<number[]> {
  const codes = await Promise.all(
    ports.map((port) => tryConnect({ host, port, serverName: "", path: "/" }, timeoutMs)),
  );
  return ports.filter((_, at) => codes[at] === "");
}
