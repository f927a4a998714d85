import { connect, createServer, type Server, type Socket } from "node:net";

/** A door before a backend that passes bytes on and cuts every connection with a reset when told to. */
export class ResettingDoor {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @param address "host:port" of the backend */
  static async open(address: string): Promise<ResettingDoor> {
    const [host = "", port = ""] = address.split(":");
    const server = createServer();
    const door = new ResettingDoor(server);
    server.on("connection", (caller) => {
      const backend = connect(Number(port), host);
      for (const [socket, other] of [
        [caller, backend],
        [backend, caller],
      ] as const) {
        door.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          door.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
    return door;
  }

  /** "127.0.0.1:PORT". */
  get address(): string {
    const { port } = this.#server.address() as { port: number };
    return `127.0.0.1:${port}`;
  }

  /** Resets every connection there is. @returns how many sockets that were */
  reset(): number {
    const cut = [...this.#sockets];
    for (const socket of cut) socket.resetAndDestroy();
    return cut.length;
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
