/** What a new connection speaks, told by its first bytes, so that a client at the wrong port gets an answer it can read. */
import type { Server, Socket } from "node:net";

/** "more": too few bytes to tell. */
export type Speech = "tls" | "http1" | "http2" | "other" | "more";

/** RFC 9113, section 3.4. */
const HTTP2_PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** Longest HTTP method that is waited for before a first line without a space counts as "other". */
const LONGEST_METHOD = 32;

/** Judges the first bytes of a connection. */
export function recognize(bytes: Uint8Array): Speech {
  if (bytes.length === 0) return "more";
  // A TLS record of type handshake (22), legacy version 3.x (RFC 8446, section 5.1).
  if (bytes[0] === 0x16) return bytes.length < 2 ? "more" : bytes[1] === 3 ? "tls" : "other";
  const common = Math.min(bytes.length, HTTP2_PREFACE.length);
  if (HTTP2_PREFACE.compare(bytes, 0, common, 0, common) === 0) return common < 4 ? "more" : "http2";
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] as number;
    if (byte === 0x20) return at > 0 ? "http1" : "other";
    if (at >= LONGEST_METHOD || byte < 0x41 || byte > 0x5a) return "other";
  }
  return "more";
}

/** A fatal TLS alert, handshake_failure(40): what a TLS client shows instead of a reset connection (RFC 8446, section 6). */
export const TLS_ALERT = Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28]);

/** How long a client that was answered early may go on sending, so that it reads the answer before the connection is reset. */
export const LINGER_MS = 1000;

/** Sends a last word and closes when the client does, at the latest after LINGER_MS; what it still sends is thrown away. */
export function endWith(socket: Socket, bytes: string | Uint8Array): void {
  socket.end(bytes);
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once("close", () => clearTimeout(timer));
}

/** Who came, for logs. */
export interface Peer {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

/** Closes connections beyond `most` as they come; silent and lingering ones count. @param onDrop gets a line for the log. */
export function limitConnections(server: Server, most: number, onDrop: (peer: Peer, message: string) => void): void {
  server.maxConnections = most;
  server.on("drop", (peer?: Peer) => onDrop(peer ?? {}, `more than ${most} connections (max_connections)`));
}

/** Gives a peeked connection to the server's own protocol handler. */
type Accept = (socket: Socket) => void;

/**
 * Puts `decide` between `server` and its new connections. `decide` gets a connection with what its first bytes say; those
 * bytes are back in the socket, so `accept` handles it as if nothing had been read. A connection that stays silent for
 * `timeoutMs` is closed. @returns a function that closes the connections that have not spoken yet.
 */
export function guardDoor(
  server: Server,
  timeoutMs: number,
  decide: (socket: Socket, speech: Exclude<Speech, "more">, accept: Accept) => void,
): () => void {
  const [own] = server.listeners("connection") as Accept[];
  if (!own) throw new Error("guardDoor: the server has no connection listener");
  server.removeAllListeners("connection");
  const accept: Accept = (socket) => own.call(server, socket);
  const silent = new Set<Socket>();

  server.on("connection", (socket: Socket) => {
    silent.add(socket);
    const timer = setTimeout(() => socket.destroy(), timeoutMs).unref();
    const leave = (): void => {
      clearTimeout(timer);
      silent.delete(socket);
      socket.off("readable", onReadable).off("close", leave).off("end", onEnd);
    };
    const onEnd = (): void => {
      socket.destroy();
    };
    const onError = (): void => {};
    let heard: Buffer = Buffer.alloc(0);
    const onReadable = (): void => {
      const bytes: Buffer | null = socket.read();
      if (bytes === null) return;
      heard = heard.length === 0 ? bytes : Buffer.concat([heard, bytes]);
      const speech = recognize(heard);
      if (speech === "more") return;
      leave();
      socket.off("error", onError);
      socket.unshift(heard);
      decide(socket, speech, accept);
    };
    socket.on("readable", onReadable).on("close", leave).on("end", onEnd).on("error", onError);
  });

  return () => {
    for (const socket of silent) socket.destroy();
  };
}
