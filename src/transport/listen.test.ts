import { spawnSync } from "node:child_process";
import { lstat, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server, connect as tcpConnect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { formatListenAddress, type ListenAddress, parseListenAddress } from "../config/listen-address.ts";
import { decodeSection, section } from "../config/schema.ts";
import { describeHolder, findHolder, listeningInodes } from "./holder.ts";
import { defaultEndpoint, LISTEN_HOST_VARIABLE, ListenError, listen, listenHostProblem, reachOf } from "./listen.ts";
import { listenEndpoint, listenTransport } from "./listen-config.ts";

const KEY = "receivers::otlp::protocols::grpc::endpoint";
const servers: Server[] = [];
const folders: string[] = [];

function server(): Server {
  const made = createServer((socket) => socket.on("error", () => {}).end("hello"));
  servers.push(made);
  return made;
}

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "listen-"));
  folders.push(made);
  return made;
}

const answers = (port: number, host: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = tcpConnect(port, host);
    socket.once("data", () => resolve(true)).once("error", () => resolve(false));
    socket.once("data", () => socket.destroy());
  });

afterEach(async () => {
  for (const made of servers.splice(0)) if (made.listening) await new Promise((resolve) => made.close(resolve));
  for (const made of folders.splice(0)) await rm(made, { recursive: true });
});

describe("parseListenAddress", () => {
  it.each<[string, ListenAddress]>([
    ["localhost:4317", { kind: "tcp", host: "localhost", port: 4317 }],
    ["0.0.0.0:4318", { kind: "tcp", host: "0.0.0.0", port: 4318 }],
    [":8888", { kind: "tcp", host: "", port: 8888 }],
    ["[::1]:4317", { kind: "tcp", host: "::1", port: 4317 }],
    ["unix:///run/otlp.sock", { kind: "unix", path: "/run/otlp.sock" }],
    ["unix:relative.sock", { kind: "unix", path: "relative.sock" }],
    ["unix://@name", { kind: "unix", path: "@name" }],
  ])("reads %s", (text, address) => {
    expect(parseListenAddress(text)).toEqual(address);
  });

  it("takes a bare path when the transport is unix", () => {
    expect(parseListenAddress("/run/otlp.sock", "unix")).toEqual({ kind: "unix", path: "/run/otlp.sock" });
  });

  it.each([
    ["localhost", "missing port in address"],
    ["[::1]", "missing port in address"],
    ["::1:4317", "too many colons in address"],
    ["[nonsense]:4317", "is not an IPv6 address"],
    ["localhost:grpc", 'invalid port "grpc"'],
    ["localhost:70000", 'invalid port "70000"'],
    ["localhost:", 'invalid port ""'],
    ["http://localhost:4318", 'host:port without "http://"'],
    ["unix://", "missing the path"],
    [`unix:///${"x".repeat(120)}`, "at most 107 bytes"],
  ])("says what is wrong with %s", (text, problem) => {
    expect(parseListenAddress(text)).toContain(problem);
  });

  it.each(["localhost:4317", "[::1]:4317", ":8888", "unix:/run/x.sock"])("gives %s back when formatted", (text) => {
    expect(formatListenAddress(parseListenAddress(text) as ListenAddress)).toBe(text);
  });
});

describe("listenHostProblem", () => {
  it.each(["", "localhost", "0.0.0.0", "::", "[::1]", "node-3.example", "fe80::1%eth0"])("accepts %j", (host) => {
    expect(listenHostProblem({ OMNISHIM_LISTEN_HOST: host })).toBeUndefined();
  });

  it.each(["0.0.0.0:4317", "http://0.0.0.0", "[::1]:4317", "[::1", "a b"])("refuses %j, which is no host", (host) => {
    expect(listenHostProblem({ OMNISHIM_LISTEN_HOST: host })).toContain(
      `OMNISHIM_LISTEN_HOST: "${host}" is not a host`,
    );
  });
});

describe("defaultEndpoint", () => {
  it("is localhost unless OMNISHIM_LISTEN_HOST is set", () => {
    expect(defaultEndpoint(4317, {})).toBe("localhost:4317");
    expect(defaultEndpoint(4317, { OMNISHIM_LISTEN_HOST: "" })).toBe("localhost:4317");
    expect(defaultEndpoint(4317, { OMNISHIM_LISTEN_HOST: "0.0.0.0" })).toBe("0.0.0.0:4317");
    expect(defaultEndpoint(4317, { OMNISHIM_LISTEN_HOST: "::" })).toBe("[::]:4317");
    expect(defaultEndpoint(4317, { OMNISHIM_LISTEN_HOST: "[::]" })).toBe("[::]:4317");
  });
});

describe("listen", () => {
  it("binds 127.0.0.1 for localhost and says that only this machine reaches it", async () => {
    const bound = await listen(server(), { kind: "tcp", host: "localhost", port: 0 }, KEY);
    expect(bound.address).toBe(`127.0.0.1:${bound.port}`);
    expect(bound.reach).toBe("only this machine can reach it");
    expect(await answers(bound.port, "127.0.0.1")).toBe(true);
  });

  it.each(["", "0.0.0.0"])("binds every interface for host '%s'", async (host) => {
    const bound = await listen(server(), { kind: "tcp", host, port: 0 }, KEY);
    expect(bound.reach).toContain("every network interface");
    expect(await answers(bound.port, "127.0.0.1")).toBe(true);
  });

  it("names the address, the holder and the key when the port is taken", async () => {
    const first = await listen(server(), { kind: "tcp", host: "127.0.0.1", port: 0 }, KEY);
    const error = await listen(server(), { kind: "tcp", host: "localhost", port: first.port }, KEY).catch((e) => e);
    expect(error).toBeInstanceOf(ListenError);
    expect(error.code).toBe("EADDRINUSE");
    expect(error.message).toContain(`listen tcp 127.0.0.1:${first.port}: bind: address already in use; `);
    if (process.platform === "linux") expect(error.message).toContain(`pid ${process.pid} (`);
    expect(error.message).toContain(`give ${KEY} another port`);
  });

  it("fails readably when the host is unknown or not of this machine", async () => {
    await expect(listen(server(), { kind: "tcp", host: "no-such-host.invalid", port: 0 }, KEY)).rejects.toThrow(
      `listen tcp: lookup no-such-host.invalid: no such host; change the host of ${KEY}`,
    );
    await expect(listen(server(), { kind: "tcp", host: "192.0.2.1", port: 4317 }, KEY)).rejects.toThrow(
      "listen tcp 192.0.2.1:4317: bind: cannot assign requested address; this machine has no such address",
    );
  });

  it("blames OMNISHIM_LISTEN_HOST when the host is the one that it names", async () => {
    vi.stubEnv(LISTEN_HOST_VARIABLE, "no-such-host.invalid");
    try {
      const listening = listen(server(), { kind: "tcp", host: "no-such-host.invalid", port: 0 }, KEY);
      await expect(listening).rejects.toThrow(
        `no such host; the host is that of the environment variable OMNISHIM_LISTEN_HOST; change that, or give ${KEY} a host of its own`,
      );
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it("replaces a socket file only when nobody listens on it", async () => {
    const path = join(await folder(), "otlp.sock");
    const first = server();
    await listen(first, { kind: "unix", path }, KEY);
    await expect(listen(server(), { kind: "unix", path }, KEY)).rejects.toThrow("another process listens on it");

    // A killed process leaves the file behind.
    const stale = join(await folder(), "stale.sock");
    spawnSync(process.execPath, [
      "-e",
      `require("net").createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, "SIGKILL"))`,
    ]);
    expect((await lstat(stale)).isSocket()).toBe(true);
    const bound = await listen(server(), { kind: "unix", path: stale }, KEY);
    expect(bound.address).toBe(`unix:${stale}`);
  });

  it("leaves a file alone that is not a socket", async () => {
    const path = join(await folder(), "notes.txt");
    await writeFile(path, "mine");
    await expect(listen(server(), { kind: "unix", path }, KEY)).rejects.toThrow("the file is not a socket");
  });
});

describe("reachOf", () => {
  it("tells loopback, wildcard and single addresses apart", () => {
    expect(reachOf("::1")).toBe("only this machine can reach it");
    expect(reachOf("::")).toContain("over IPv4 and IPv6");
    expect(reachOf("10.1.2.3")).toBe("reachable by whoever can reach 10.1.2.3");
  });
});

describe("listeningInodes", () => {
  it("finds the listening socket of a port in a table of /proc/net/tcp", () => {
    const table = [
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
      "   0: 0100007F:10DD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 81234 1 0000000000000000 100 0 0 10 0",
      "   1: 0100007F:10DD 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 99999 1 0000000000000000 20 4 30 10 -1",
      "   2: 00000000:10DE 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 81235 1 0000000000000000 100 0 0 10 0",
    ].join("\n");
    expect(listeningInodes(table, 4317)).toEqual(["81234"]);
    expect(listeningInodes(table, 4319)).toEqual([]);
  });
});

describe("findHolder", () => {
  it("gives nothing, and says how to look, where /proc is not readable", async () => {
    expect(await findHolder(4317, "/no/such/proc")).toBeUndefined();
    expect(describeHolder(undefined, 4317)).toContain("ss -ltnp 'sport = :4317'");
  });
});

describe("listenEndpoint", () => {
  const schema = section({ endpoint: listenEndpoint(4317), transport: listenTransport() });

  it("is localhost when absent and the value as written otherwise", () => {
    expect(decodeSection(schema, {}).config).toEqual({ endpoint: defaultEndpoint(4317), transport: "tcp" });
    expect(decodeSection(schema, { endpoint: "0.0.0.0:1" }).config.endpoint).toBe("0.0.0.0:1");
    expect(decodeSection(schema, { endpoint: "/run/x", transport: "unix" }).config.endpoint).toBe("/run/x");
  });

  it("names the key and shows examples when the value is not an address", () => {
    const error = (() => {
      try {
        return decodeSection(schema, { endpoint: "localhost" });
      } catch (thrown) {
        return thrown;
      }
    })();
    expect((error as { issues: unknown }).issues).toEqual([
      expect.objectContaining({
        path: ["endpoint"],
        message: expect.stringContaining("missing port in address"),
        hint: expect.stringContaining("localhost:4317"),
      }),
    ]);
  });
});
