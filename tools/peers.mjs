#!/usr/bin/env node
// Builds the real programs that `npm run test:peers` and the benchmarks run against, once, into a cache.
//
//   node tools/peers.mjs build [NAME...]        all of them without a name; progress on stderr
//   node tools/peers.mjs build --json [NAME...] the same, then {NAME: {path} | {skipped: WHY}} on stdout
//   node tools/peers.mjs path NAME              where it is; exit code 1 when it is not built
//
// The cache is $OMNISHIM_PEERS, else omnishim-peers in $XDG_CACHE_HOME or ~/.cache. An entry's name has a hash of what it is
// made from, so a changed pin is built anew and an old one stays usable. Exit code 1 when a build failed; a missing Go or
// Python skips its peers with one line and is no failure.
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../test/peers/", import.meta.url));
const cache =
  process.env.OMNISHIM_PEERS || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "omnishim-peers");

// `seconds` is for a first build on two cores with nothing downloaded yet, and then some.
const peers = {
  otelcol: { kind: "go", pkg: ".", seconds: 600 },
  "jaeger-v1": { kind: "go", pkg: "github.com/jaegertracing/jaeger/cmd/all-in-one", seconds: 900 },
  "jaeger-v2": { kind: "go", pkg: "github.com/jaegertracing/jaeger/cmd/jaeger", seconds: 1200 },
  telemetrygen: {
    kind: "go",
    pkg: "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen",
    seconds: 300,
  },
  "pdata-verdicts": { kind: "go", pkg: ".", seconds: 300 },
  python: { kind: "python", seconds: 300 },
};

function say(text) {
  process.stderr.write(`${text}\n`);
}

function version(command, args) {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return undefined;
  }
}

function sourcesOf(name) {
  if (peers[name].kind === "python") return [join(folder, "requirements.txt")];
  const module = join(folder, "modules", name);
  return readdirSync(module)
    .sort()
    .map((file) => join(module, file));
}

/** The entry's folder in the cache and the program in it. */
function place(name) {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}`);
  if (peers[name].kind === "python") hash.update(version("python3", ["--version"]) ?? "");
  for (const file of sourcesOf(name)) hash.update(readFileSync(file)).update("\0");
  const entry = join(cache, `${name}-${hash.digest("hex").slice(0, 12)}`);
  return { entry, program: peers[name].kind === "python" ? join(entry, "bin", "python") : join(entry, name) };
}

/** Why `name` cannot be built here, or undefined. */
function missing(name) {
  if (peers[name].kind === "python") {
    if (version("python3", ["--version"]) === undefined) return "python3 is not installed";
    if (version("python3", ["-c", "import venv, ensurepip"]) === undefined)
      return "python3 has no venv module (on Debian: apt-get install python3-venv)";
    return undefined;
  }
  const wanted = /^go (\d+)\.(\d+)/m.exec(readFileSync(join(folder, "modules", name, "go.mod"), "utf8"));
  const found = /go(\d+)\.(\d+)/.exec(version("go", ["version"]) ?? "");
  if (!found) return `Go is not installed (${wanted[1]}.${wanted[2]} or newer is needed)`;
  const [major, minor] = [Number(found[1]), Number(found[2])];
  if (major < Number(wanted[1]) || (major === Number(wanted[1]) && minor < Number(wanted[2])))
    return `Go ${wanted[1]}.${wanted[2]} or newer is needed, ${found[0]} is installed`;
  return undefined;
}

/** Runs one command of a build; rejects with the end of its output when it fails or takes too long. */
function run(name, command, args, deadline, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], detached: true, ...options });
    let output = "";
    const started = Date.now();
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (text) => {
        output = `${output}${text}`.slice(-4000);
      });
    const heartbeat = setInterval(() => {
      say(`${name}: still building, ${Math.round((Date.now() - started) / 1000)} s`);
    }, 15_000);
    const timer = setTimeout(() => {
      output += "\ntook too long";
      process.kill(-child.pid, "SIGKILL"); // the compiler's children are in the same group
    }, deadline - started);
    const done = (settle) => {
      clearInterval(heartbeat);
      clearTimeout(timer);
      settle();
    };
    child.on("error", (error) => done(() => reject(error)));
    child.on("close", (code) =>
      done(() => (code === 0 ? resolve() : reject(new Error(`${command} ${args.join(" ")} failed:\n${output}`)))),
    );
  });
}

async function make(name, entry) {
  const { kind, pkg, seconds } = peers[name];
  const deadline = Date.now() + seconds * 1000;
  if (kind === "go") {
    const unfinished = `${entry}.${process.pid}`;
    mkdirSync(unfinished, { recursive: true });
    try {
      const args = ["build", "-buildvcs=false", "-o", join(unfinished, name), pkg];
      await run(name, "go", args, deadline, { cwd: join(folder, "modules", name) });
      rmSync(entry, { recursive: true, force: true });
      renameSync(unfinished, entry);
    } finally {
      rmSync(unfinished, { recursive: true, force: true });
    }
    return;
  }
  // A virtual environment has its own path in it, so it is made in place; the marker says that it is whole.
  rmSync(entry, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  const python = join(entry, "bin", "python");
  await run(name, "python3", ["-m", "venv", entry], deadline);
  const install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"];
  await run(name, python, [...install, "-r", join(folder, "requirements.txt")], deadline);
  await run(name, python, ["-m", "pip", "check", "--disable-pip-version-check"], deadline);
  mkdirSync(join(entry, "complete"));
}

function isMade(name, { entry, program }) {
  return existsSync(program) && (peers[name].kind === "go" || existsSync(join(entry, "complete")));
}

async function build(names) {
  const result = {};
  for (const name of names) {
    const where = place(name);
    const reason = isMade(name, where) ? undefined : missing(name);
    if (isMade(name, where)) {
      say(`${name}: in the cache`);
      result[name] = { path: where.program };
    } else if (reason !== undefined) {
      say(`${name}: skipped: ${reason}`);
      result[name] = { skipped: reason };
    } else {
      say(`${name}: building, at most ${peers[name].seconds} s`);
      const started = Date.now();
      try {
        await make(name, where.entry);
        say(`${name}: built in ${Math.round((Date.now() - started) / 1000)} s`);
        result[name] = { path: where.program };
      } catch (error) {
        say(`${name}: FAILED after ${Math.round((Date.now() - started) / 1000)} s: ${error.message}`);
        result[name] = { failed: error.message };
        process.exitCode = 1;
      }
    }
  }
  return result;
}

const [command, ...rest] = process.argv.slice(2);
const json = rest.includes("--json");
const names = rest.filter((word) => word !== "--json");
const unknown = names.filter((name) => !(name in peers));
if (unknown.length > 0 || !["build", "path"].includes(command) || (command === "path" && names.length !== 1)) {
  say(`usage: peers.mjs build [--json] [NAME...] | path NAME    (NAME: ${Object.keys(peers).join(", ")})`);
  process.exitCode = 2;
} else if (command === "path") {
  const where = place(names[0]);
  if (isMade(names[0], where)) console.log(where.program);
  else {
    say(`${where.program} is not there; make it with: node tools/peers.mjs build ${names[0]}`);
    process.exitCode = 1;
  }
} else {
  const result = await build(names.length > 0 ? names : Object.keys(peers));
  if (json) console.log(JSON.stringify(result));
}
