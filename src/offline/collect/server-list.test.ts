import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Problem } from "../problem.ts";
import { parseAddress, parseServerList } from "./server-list.ts";

function labels(text: string): string[] {
  return parseServerList(text, "servers.txt").map(({ label }) => label);
}

describe("parseServerList", () => {
  it("parseServerList reads users, ports, IPv6 addresses and remarks", () => {
    const text = "# all\n10.0.0.1\r\n root@gpu-2.lan:2222 # decode\n\nfd00::3\nadmin@[fd00::4]:22\n";
    expect(parseServerList(text, "servers.txt")).toEqual([
      { host: "10.0.0.1", user: undefined, port: undefined, label: "10.0.0.1" },
      { host: "gpu-2.lan", user: "root", port: 2222, label: "gpu-2.lan" },
      { host: "fd00::3", user: undefined, port: undefined, label: "fd00::3" },
      { host: "fd00::4", user: "admin", port: 22, label: "fd00::4" },
    ]);
  });

  it("parseServerList takes a line that comes twice once", () => {
    expect(labels("10.0.0.1\n10.0.0.1\n")).toEqual(["10.0.0.1"]);
  });

  it("parseServerList puts the port behind the host when the list has the host more than once", () => {
    expect(labels("10.0.0.1:2201\n10.0.0.1\n10.0.0.2:2201\n")).toEqual(["10.0.0.1_2201", "10.0.0.1_22", "10.0.0.2"]);
  });

  it("parseServerList refuses a host twice with different users, whose files would mix", () => {
    expect(() => labels("a@10.0.0.1\nb@10.0.0.1\n")).toThrow(/10\.0\.0\.1_22 comes more than once/);
  });

  it("parseServerList names every line that is no server, with its number", () => {
    expect(() => labels("10.0.0.1\n-oProxyCommand=touch pwned\na b\n")).toThrow(
      /^servers\.txt:2: "-oProxyCommand=touch pwned"\nservers\.txt:3: "a b"\nand 2 lines in all are no server/,
    );
    expect(() => labels("# nobody\n")).toThrow(Problem);
  });

  it.each([
    "-oProxyCommand=touch pwned",
    "-l",
    "$(touch pwned)",
    "`touch pwned`",
    "host;touch pwned",
    "host|sh",
    "host&",
    "ho'st",
    "../../etc",
    "host/../..",
    "-v@host",
    "user@-oX",
    "us$er@host",
    "user@",
    "@host",
    "host:0",
    "host:65536",
    "host:22:22",
    "[host]",
    "[fd00::1",
    "%h",
    "host\u0000",
    "höst",
  ])("parseAddress refuses %j", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it("parseAddress gives nothing that ssh, a shell or a path could take for something else, whatever it reads", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."-a.:@[]/%$'\"; \n0", "\0") }), (text) => {
        const found = parseAddress(text);
        for (const word of found ? [found.host, found.user ?? "u"] : []) {
          expect(word).toMatch(/^[A-Za-z0-9_:][A-Za-z0-9._:%-]*$/);
          expect(word).not.toContain("/");
        }
      }),
      { numRuns: 2000 },
    );
  });
});
