import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { CollectReport } from "../../src/offline/collect/collect.ts";
import { command } from "../kit/edge.ts";
import { captureFolder } from "../kit/offline.ts";
import { freePorts } from "../kit/process.ts";
import { makeKey, noSshd, publicKey, SshServer } from "./sshd.ts";

if (noSshd !== undefined) process.stderr.write(`${noSshd}\n`);

const CAPTURE = captureFolder("proxy-vllm/grpc");
/** chrony 4.3's, but for the offset. */
const TRACKING = `Reference ID    : 0A000009 (10.0.0.9)
Stratum         : 3
Ref time (UTC)  : Sun Nov 22 22:18:41 2026
System time     : 0.012000000 seconds slow of NTP time
Last offset     : -0.000000026 seconds
RMS offset      : 0.000000060 seconds
Frequency       : 0.380 ppm fast
Residual freq   : -0.012 ppm
Skew            : 0.627 ppm
Root delay      : 0.000200000 seconds
Root dispersion : 0.000100000 seconds
Update interval : 64.2 seconds
Leap status     : Normal
`;

describe.skipIf(noSshd !== undefined)("omnishim collect against OpenSSH servers", () => {
  let keys: string;
  /** Programs of the hosts that come before the system's. */
  let bin: string;
  let good: SshServer;
  let other: SshServer;
  let strict: SshServer;
  let changed: SshServer;
  let hosts: string;
  let here: string;

  beforeAll(async () => {
    keys = mkdtempSync(join(tmpdir(), "omnishim-sshd-"));
    bin = join(keys, "bin");
    mkdirSync(bin);
    const key = makeKey(keys, "user-key");
    const path = `${bin}:/usr/local/bin:/usr/bin:/bin`;
    const authorized = `${publicKey(key)}\n`;
    [good, other, strict, changed] = await Promise.all([
      SshServer.start(keys, "good", authorized, path),
      SshServer.start(keys, "other", authorized, path),
      SshServer.start(keys, "strict", "", path),
      SshServer.start(keys, "changed", authorized, path),
    ]);
    const stranger = publicKey(makeKey(keys, "stranger"));
    const known = [good, other, strict].map(({ knownHost }) => knownHost).join("");
    writeFileSync(join(keys, "known_hosts"), `${known}[127.0.0.1]:${changed.port} ${stranger}\n`);
    writeFileSync(
      join(keys, "ssh_config"),
      `UserKnownHostsFile ${join(keys, "known_hosts")}\nGlobalKnownHostsFile /dev/null\nIdentityFile ${key}\nIdentitiesOnly yes\n`,
    );
  });
  afterAll(async () => {
    await Promise.all([good, other, strict, changed].map((server) => server?.stop()));
    rmSync(keys, { recursive: true, force: true });
  });

  beforeEach(() => {
    hosts = mkdtempSync(join(tmpdir(), "omnishim-hosts-"));
    here = mkdtempSync(join(tmpdir(), "omnishim-collected-"));
    mkdirSync(join(hosts, "traces/worker"), { recursive: true });
    mkdirSync(join(hosts, "nginx"));
    writeFileSync(join(hosts, "nginx/nginx_error.log"), readFileSync(join(CAPTURE, "error.log")));
    writeFileSync(join(hosts, "nginx/nginx_error.log.1"), "the day before\n");
    writeFileSync(join(hosts, "nginx/nginx_error.log.2.gz"), gzipSync("two days before\n"));
    writeFileSync(join(hosts, "nginx/nginx_access.log"), readFileSync(join(CAPTURE, "access.log")));
    writeFileSync(join(hosts, "traces/worker/log_pid_7_tid_8.log"), "of a worker\n");
    writeFileSync(join(hosts, "traces/log_pid_1_tid_2.log"), "");
  });
  afterEach(() => {
    for (const folder of [hosts, here]) rmSync(folder, { recursive: true, force: true });
    for (const name of readdirSync(bin)) rmSync(join(bin, name));
  });

  function program(name: string, text: string): void {
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}`);
    chmodSync(join(bin, name), 0o755);
  }

  async function run(list: readonly (string | number)[], ...options: string[]) {
    const servers = join(here, "servers.txt");
    writeFileSync(servers, list.map((line) => `${typeof line === "number" ? `127.0.0.1:${line}` : line}\n`).join(""));
    const done = await command([
      "collect",
      servers,
      join(hosts, "traces"),
      join(hosts, "nginx"),
      join(here, "logs"),
      ...["--ssh-config", join(keys, "ssh_config"), ...options],
    ]);
    return done;
  }

  async function report(list: readonly (string | number)[], ...options: string[]): Promise<CollectReport> {
    const { stdout, stderr } = await run(list, "--json", ...options);
    expect(stderr).toBe("");
    return JSON.parse(stdout) as CollectReport;
  }

  /** True when the collected file is the capture's, byte by byte. */
  function isCapture(name: string, source: string): boolean {
    return read(name).equals(readFileSync(join(CAPTURE, source)));
  }

  function read(name: string): Buffer {
    return readFileSync(join(here, "logs", name));
  }

  it("collect fetches logs, rotated and compressed ones too, under the script's names, and the clock", async () => {
    program("chronyc", `cat <<'END'\n${TRACKING}END\n`);
    const { code, stdout } = await run([good.port, other.port]);
    expect(stdout).toMatch(/^127\.0\.0\.1_\d+ +ok +6 +0 +0 .*-12\.000 ±0\.201 ms/m);
    expect(stdout).toMatch(/^12 files, .* fetched into .*; 2 of 2 hosts ok$/m);
    expect(code).toBe(0);
    for (const { port } of [good, other]) {
      const host = `127.0.0.1_${port}`;
      expect(isCapture(`nginx_${host}.log`, "error.log")).toBe(true);
      expect(read(`nginx_${host}.log.1`).toString()).toBe("the day before\n");
      expect(gunzipSync(read(`nginx_${host}.log.2.gz`)).toString()).toBe("two days before\n");
      expect(isCapture(`nginx_access_${host}.log`, "access.log")).toBe(true);
      expect(read(`logs_${host}/worker/log_pid_7_tid_8.log`).toString()).toBe("of a worker\n");
      expect(read(`logs_${host}/log_pid_1_tid_2.log`)).toHaveLength(0);
      expect(JSON.parse(read(`collect_${host}.json`).toString())).toMatchObject({
        host: "127.0.0.1",
        clock: { offset_seconds: -0.012, uncertainty_seconds: 0.000201 },
        tracking: TRACKING.trim(),
      });
    }
  });

  it("collect names the folder after the host alone when the list has it once", async () => {
    expect(await report([good.port])).toMatchObject({ failed: 0, hosts: [{ label: "127.0.0.1", fetched: 6 }] });
    expect(readdirSync(join(here, "logs")).sort()).toEqual([
      "collect_127.0.0.1.json",
      "logs_127.0.0.1",
      "nginx_127.0.0.1.log",
      "nginx_127.0.0.1.log.1",
      "nginx_127.0.0.1.log.2.gz",
      "nginx_access_127.0.0.1.log",
    ]);
  });

  it("collect goes on with the others when hosts refuse, deny or have another key, and says what to do", async () => {
    const [closed] = (await freePorts(1)) as [number];
    const { code, stdout } = await run([good.port, closed, strict.port, changed.port]);
    expect(code).toBe(1);
    expect(stdout).toMatch(new RegExp(`^127\\.0\\.0\\.1_${good.port} +ok +6 `, "m"));
    expect(stdout).toMatch(new RegExp(`^127\\.0\\.0\\.1_${closed}: .*Connection refused`, "m"));
    expect(stdout).toMatch(new RegExp(`^127\\.0\\.0\\.1_${strict.port}: .*Permission denied.*--identity`, "m"));
    expect(stdout).toMatch(
      new RegExp(
        `^127\\.0\\.0\\.1_${changed.port}: its host key has changed \\(now SHA256:.*ssh-keygen -f '${join(keys, "known_hosts")}' -R '\\[127\\.0\\.0\\.1\\]:${changed.port}'$`,
        "m",
      ),
    );
    expect(stdout).toContain("1 of 4 hosts ok");
    expect(existsSync(join(here, "logs", `nginx_127.0.0.1_${changed.port}.log`))).toBe(false);
  });

  it("collect refuses a host whose key is not known", async () => {
    writeFileSync(join(keys, "nobody"), "");
    writeFileSync(
      join(keys, "empty_config"),
      `UserKnownHostsFile ${join(keys, "nobody")}\nGlobalKnownHostsFile /dev/null\nIdentityFile ${join(keys, "user-key")}\n`,
    );
    const { code, stdout } = await run([good.port], "--ssh-config", join(keys, "empty_config"));
    expect(code).toBe(1);
    expect(stdout).toMatch(/^127\.0\.0\.1: its host key is not known; .* once by hand: ssh -p \d+ 127\.0\.0\.1$/m);
  });

  it("collect fetches nothing that it has when nothing has changed", async () => {
    await report([good.port]);
    const [host] = (await report([good.port])).hosts;
    expect(host).toMatchObject({ state: "ok", fetched: 0, continued: 0, whole: 6, bytes: 0 });
  });

  it("collect continues a file where the connection broke", async () => {
    const size = statSync(join(hosts, "nginx/nginx_error.log")).size;
    rmSync(join(hosts, "traces"), { recursive: true });
    program("head", "/usr/bin/head -c 20000\nkill -9 $PPID\n");
    const [broken] = (await report([good.port])).hosts;
    expect(broken).toMatchObject({ state: "failed", fetched: 0, problem: expect.stringContaining("connection") });
    expect(existsSync(join(here, "logs/nginx_127.0.0.1.log"))).toBe(false);
    const kept = read("nginx_127.0.0.1.log.omnishim-part").length;
    expect(kept).toBe(20_000);
    rmSync(join(bin, "head"));
    const [host] = (await report([good.port])).hosts;
    expect(host).toMatchObject({ state: "ok", fetched: 3, continued: 1 });
    const others = ["nginx_error.log.1", "nginx_error.log.2.gz", "nginx_access.log"];
    const rest = others.reduce((sum, name) => sum + statSync(join(hosts, "nginx", name)).size, 0);
    expect(host?.bytes).toBe(size - kept + rest);
    expect(isCapture("nginx_127.0.0.1.log", "error.log")).toBe(true);
    expect(readdirSync(join(here, "logs")).filter((name) => name.endsWith("part"))).toEqual([]);
  });

  it("collect begins a file anew when what is here is not its beginning", async () => {
    mkdirSync(join(here, "logs"));
    writeFileSync(join(here, "logs/nginx_127.0.0.1.log.omnishim-part"), "x".repeat(5000));
    expect((await report([good.port])).hosts[0]).toMatchObject({ state: "ok", fetched: 6, continued: 0 });
    expect(isCapture("nginx_127.0.0.1.log", "error.log")).toBe(true);
  });

  it("collect fetches only what is new when logs have grown and were rotated", async () => {
    const nginx = (name: string) => join(hosts, "nginx", name);
    await report([good.port]);
    appendFileSync(nginx("nginx_error.log"), "a last line\n");
    renameSync(nginx("nginx_error.log.1"), nginx("nginx_error.log.3"));
    renameSync(nginx("nginx_error.log"), nginx("nginx_error.log.1"));
    writeFileSync(nginx("nginx_error.log"), "a new day\n");
    const [host] = (await report([good.port])).hosts;
    expect(host).toMatchObject({ state: "ok", fetched: 1, continued: 2, whole: 4, bytes: 22 });
    expect(read("nginx_127.0.0.1.log").toString()).toBe("a new day\n");
    expect(read("nginx_127.0.0.1.log.1").toString()).toMatch(/\na last line\n$/);
    expect(read("nginx_127.0.0.1.log.3").toString()).toBe("the day before\n");
  });

  it("collect keeps what the host has no more, and replaces a plain log by its compressed one", async () => {
    const nginx = (name: string) => join(hosts, "nginx", name);
    const mtime = new Date("2026-11-21T00:00:07Z");
    utimesSync(nginx("nginx_error.log.1"), mtime, mtime);
    await report([good.port]);
    rmSync(nginx("nginx_error.log.2.gz"));
    rmSync(nginx("nginx_error.log.1"));
    writeFileSync(nginx("nginx_error.log.3.gz"), gzipSync("the day before\n"));
    utimesSync(nginx("nginx_error.log.3.gz"), mtime, mtime);
    writeFileSync(join(hosts, "new"), "of another kind\n");
    renameSync(join(hosts, "new"), nginx("nginx_error.log"));
    await report([good.port]);
    const names = readdirSync(join(here, "logs")).filter((name) => name.startsWith("nginx_127"));
    expect(names.filter((name) => !/-\d{8}-\d{6}$/.test(name)).sort()).toEqual([
      "nginx_127.0.0.1.log",
      "nginx_127.0.0.1.log.2.gz",
      "nginx_127.0.0.1.log.3.gz",
    ]);
    const [aside] = names.filter((name) => /-\d{8}-\d{6}$/.test(name));
    expect(isCapture(aside as string, "error.log")).toBe(true);
    expect(read("nginx_127.0.0.1.log").toString()).toBe("of another kind\n");
  });

  it("collect fetches a log anew when it was cut and written again", async () => {
    await report([good.port]);
    truncateSync(join(hosts, "nginx/nginx_error.log"));
    appendFileSync(join(hosts, "nginx/nginx_error.log"), "after the cut\n");
    expect((await report([good.port])).hosts[0]).toMatchObject({ state: "ok", fetched: 1, whole: 5 });
    expect(read("nginx_127.0.0.1.log").toString()).toBe("after the cut\n");
  });

  it("collect takes names that would be commands elsewhere as they are, here and there", async () => {
    const names = ["it's $(touch pwned) `touch pwned`.log", "-rf *.log", "two\nlines.log", "ünïcode \\ ; & |.log"];
    for (const name of names) writeFileSync(join(hosts, "traces", name), `in ${name}`);
    expect((await report([good.port])).failed).toBe(0);
    for (const name of names) expect(read(`logs_127.0.0.1/${name}`).toString()).toBe(`in ${name}`);
    const odd = ["-$(touch pwned)' ; touch pwned", join(hosts, "nginx"), join(here, "again")];
    const servers = join(here, "servers.txt");
    const { stdout, code } = await command([
      ...["collect", "--ssh-config", join(keys, "ssh_config")],
      ...["--", servers, ...odd],
    ]);
    expect(code, stdout).toBe(0);
    for (const folder of [homedir(), process.cwd(), hosts, here]) expect(existsSync(join(folder, "pwned"))).toBe(false);
  });

  it("collect goes through a jump host", async () => {
    const through = async (jump: SshServer): Promise<unknown> =>
      (await report([other.port], "--jump", `127.0.0.1:${jump.port}`)).hosts[0];
    expect(await through(strict)).toMatchObject({ state: "failed", problem: expect.stringContaining("Permission") });
    expect(await through(good)).toMatchObject({ state: "ok", fetched: 6 });
  });

  it("collect writes nothing when it is a dry run", async () => {
    const seen = await report([good.port], "--dry-run");
    expect(seen).toMatchObject({ dryRun: true, hosts: [{ state: "ok", fetched: 6 }] });
    expect(existsSync(join(here, "logs"))).toBe(false);
  });

  it("collect leaves out files that were not written to since", async () => {
    const old = Date.now() / 1000 - 7200;
    utimesSync(join(hosts, "nginx/nginx_error.log.1"), old, old);
    expect((await report([good.port], "--since", "1h")).hosts[0]).toMatchObject({ state: "ok", fetched: 5 });
    expect(existsSync(join(here, "logs/nginx_127.0.0.1.log.1"))).toBe(false);
  });

  it("collect says that a host has neither of both paths", async () => {
    rmSync(join(hosts, "traces"), { recursive: true });
    rmSync(join(hosts, "nginx"), { recursive: true });
    const { code, stdout } = await run([good.port]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^127\.0\.0\.1: neither the folder \S+traces nor a log at \S+nginx is there$/m);
  });

  it("collect gives a host up when it is silent for the stall timeout", async () => {
    program("chronyc", "exec sleep 30\n");
    const { code, stdout } = await run([good.port], "--stall-timeout", "1");
    expect(code).toBe(1);
    expect(stdout).toContain("127.0.0.1: it was silent for 1 s (--stall-timeout)");
  });

  it("collect is not put off by what a login shell says", async () => {
    program("sh", '[ "$1" != -s ] || echo \'Welcome to this host\'\nexec /bin/sh "$@"\n');
    expect((await report([good.port])).hosts[0]).toMatchObject({ state: "ok", fetched: 6 });
  });
});
