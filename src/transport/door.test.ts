import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { guardDoor, recognize } from "./door.ts";

describe("recognize", () => {
  it.each([
    ["", "more"],
    ["\x16", "more"],
    ["\x16\x03\x01", "tls"],
    ["\x16\x07", "other"],
    ["P", "more"],
    ["PRI", "more"],
    ["PRI ", "http2"],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", "http2"],
    ["PRI * HTTP/1.0", "http1"],
    ["POST /v1/traces HTTP/1.1", "http1"],
    ["GET ", "http1"],
    ["GE", "more"],
    ["get / HTTP/1.1", "other"],
    [" GET", "other"],
    ["\0\0\0", "other"],
    ["A".repeat(40), "other"],
  ])("takes %j for %s", (text, speech) => {
    expect(recognize(Buffer.from(text, "latin1"))).toBe(speech);
  });
});

describe("guardDoor", () => {
  let server: Server;
  const clients: Socket[] = [];

  /** A server that echoes what its own listener gets, behind a guard. */
  async function start(timeoutMs: number): Promise<{ port: number; spoken: string[]; closeSilent: () => void }> {
    const spoken: string[] = [];
    server = createServer((socket) => socket.on("data", (bytes) => socket.write(bytes)).on("error", () => {}));
    const closeSilent = guardDoor(server, timeoutMs, (socket, speech, accept) => {
      spoken.push(speech);
      accept(socket);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return { port: (server.address() as AddressInfo).port, spoken, closeSilent };
  }

  function client(port: number): Socket {
    const socket = connect(port, "127.0.0.1").setNoDelay(true);
    clients.push(socket);
    return socket;
  }

  afterEach(async () => {
    for (const socket of clients.splice(0)) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  it("gives the server every byte, also when they come one by one", async () => {
    const { port, spoken } = await start(10_000);
    const socket = client(port);
    await once(socket, "connect");
    let echoed = "";
    socket.on("data", (bytes) => {
      echoed += bytes.toString();
    });
    for (const byte of "GE") {
      socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.write("T / HTTP/1.1");
    while (echoed.length < 14) await once(socket, "data");
    expect(echoed).toBe("GET / HTTP/1.1");
    expect(spoken).toEqual(["http1"]);
  });

  it("closes a connection that says nothing in time, and one that ends without a word", async () => {
    const { port, spoken } = await start(20);
    const silent = client(port);
    const ending = client(port);
    ending.end();
    await Promise.all([once(silent, "close"), once(ending, "close")]);
    expect(spoken).toEqual([]);
  });

  it("closes silent connections at once when told", async () => {
    const { port, closeSilent } = await start(60_000);
    const socket = client(port);
    await once(server, "connection");
    closeSilent();
    await once(socket, "close");
  });
});
