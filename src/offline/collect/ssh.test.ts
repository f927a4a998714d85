import { describe, expect, it } from "vitest";
import { explainFailure, sshArguments } from "./ssh.ts";

const server = { host: "10.0.0.1", user: undefined, port: undefined, label: "10.0.0.1" };
const plain = {
  user: undefined,
  port: undefined,
  identity: undefined,
  jump: undefined,
  configFile: undefined,
  connectTimeoutMs: 10_000,
};

describe("sshArguments", () => {
  it("sshArguments asks nothing, forwards nothing, ends options before the host, and leaves host keys to ssh", () => {
    const args = sshArguments(server, plain);
    expect(args.slice(-3)).toEqual(["--", "10.0.0.1", "exec sh -s"]);
    expect(args).toContain("BatchMode=yes");
    expect(args).toContain("ClearAllForwardings=yes");
    expect(args.join(" ")).not.toMatch(/StrictHostKeyChecking|UserKnownHostsFile|CheckHostIP/i);
  });

  it("sshArguments lets the list's user and port win over the options", () => {
    const args = sshArguments(
      { ...server, user: "a", port: 1 },
      { ...plain, user: "b", port: 2, jump: "j", identity: "k" },
    );
    expect(args.join(" ")).toMatch(/-i k -o IdentitiesOnly=yes -J j -l a -p 1 -- /);
  });
});

describe("explainFailure", () => {
  it("explainFailure gives the command that forgets a changed key, quoted", () => {
    const text = `@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@
The fingerprint for the ED25519 key sent by the remote host is
SHA256:uNiVztksCsDhcc0u9e8BrcIkR3MN6Cd3Eu2DjX8C2Mg.
Add correct host key in /srv/o'neil/known_hosts to get rid of this message.
Offending ED25519 key in /srv/o'neil/known_hosts:4
Host key for [10.0.0.1]:2222 has changed and you have requested strict checking.
Host key verification failed.`;
    expect(explainFailure(text, "the connection ended (ssh: 255)", { ...server, port: 2222 })).toBe(
      "its host key has changed (now SHA256:uNiVztksCsDhcc0u9e8BrcIkR3MN6Cd3Eu2DjX8C2Mg), so nothing was fetched: somebody may be in between. If the host has a new key indeed: ssh-keygen -f '/srv/o'\\''neil/known_hosts' -R '[10.0.0.1]:2222'",
    );
  });

  it("explainFailure gives ssh's last words, without what could drive a terminal, or how it ended", () => {
    expect(explainFailure("a\nb\nc\n\u001b[2Jd\r\n", "", server)).not.toContain("\u001b");
    expect(explainFailure("\n", "the connection ended (ssh: 255)", server)).toBe("the connection ended (ssh: 255)");
  });
});
