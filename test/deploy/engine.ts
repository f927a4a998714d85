import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Program } from "../kit/process.ts";
import { Directory, find } from "./machine.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/**
 * A real Docker engine of this test's own, with its own socket and images, so that the images that stand in for published
 * ones never get into anybody's engine. It shares the host's network: published ports are the host's.
 */
export class Engine {
  readonly #daemon: Program;
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(daemon: Program, folder: string, env: NodeJS.ProcessEnv) {
    this.#daemon = daemon;
    this.#folder = folder;
    this.#env = env;
  }

  static async start(): Promise<Engine> {
    const folder = mkdtempSync(join(tmpdir(), "omnishim-engine-"));
    const host = `unix://${folder}/docker.sock`;
    const places = ["data-root", "exec-root", "pidfile"].map((name) => `--${name}=${folder}/${name}`);
    const daemon = new Program("dockerd", [`--host=${host}`, ...places]);
    // The classic builder: it takes a base image that exists only here.
    const engine = new Engine(daemon, folder, {
      DOCKER_HOST: host,
      DOCKER_BUILDKIT: "0",
      COMPOSE_DOCKER_CLI_BUILD: "0",
    });
    try {
      await daemon.line(/API listen on/, 60_000);
    } catch (error) {
      await engine.stop();
      throw error;
    }
    return engine;
  }

  /** Runs `docker ARGS` to its end. @returns all of its output @throws with that output unless the exit code is 0 */
  async docker(args: readonly string[], timeoutMs = 60_000): Promise<string> {
    return this.#run("docker", args, {}, timeoutMs);
  }

  /** Runs `docker-compose -f FILE -p PROJECT ARGS`; `file` is a path in the repository. */
  async compose(
    file: string,
    project: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    return this.#run("docker-compose", ["-f", join(root, file), "-p", project, ...args], env, 120_000);
  }

  /** Makes an image of a directory that `fill` puts files into. `changes` are Dockerfile instructions. */
  async image(name: string, changes: readonly string[], fill: (directory: Directory) => void): Promise<void> {
    const path = mkdtempSync(join(this.#folder, "image-"));
    const archive = `${path}.tar`;
    fill(new Directory(path));
    execFileSync("tar", ["-cf", archive, "-C", path, "."]);
    await this.docker(["import", ...changes.flatMap((change) => ["--change", change]), archive, name], 120_000);
    for (const one of [path, archive]) rmSync(one, { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.#daemon.stop("SIGTERM", 40_000);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #run(command: string, args: readonly string[], env: NodeJS.ProcessEnv, timeoutMs: number): Promise<string> {
    const program = new Program(command, args, { cwd: root, env: { ...this.#env, ...env } });
    try {
      const { code } = await program.exit(timeoutMs);
      if (code !== 0)
        throw new Error(`${command} ${args.join(" ")}: exit code ${code}:\n${program.output.slice(-4000)}`);
      return program.output;
    } finally {
      await program.stop("SIGKILL");
    }
  }
}

/** Why no engine can be run here, or undefined: one is started, and a container in it. */
export async function missingEngine(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "a Docker engine of the test's own needs root";
  const missing = ["dockerd", "docker", "docker-compose"].filter((name) => find(name) === undefined);
  if (missing.length > 0)
    return `${missing.join(", ")}: not installed (on Debian: apt-get install docker.io docker-compose)`;
  let engine: Engine | undefined;
  try {
    engine = await Engine.start();
    await engine.image("probe", [], (directory) => directory.program(find("true") ?? "true", "true"));
    await engine.docker(["run", "--rm", "--publish=127.0.0.1::80", "probe", "/true"]);
    return undefined;
  } catch (error) {
    return `no container runs here: ${(error as Error).message.trim().split("\n").at(-1)?.slice(0, 200)}`;
  } finally {
    await engine?.stop();
  }
}

/** The node image that deploy/Dockerfile builds on: this machine's node and npm, and npm's cache so that `npm ci` needs no network. */
export async function makeNodeImage(engine: Engine, name: string): Promise<void> {
  const npm = (args: string[]): string =>
    execFileSync("npm", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  await engine.image(
    name,
    ["ENV PATH=/usr/local/bin:/usr/bin:/bin", "ENV npm_config_cache=/npm npm_config_offline=true"],
    (directory) => {
      directory.program(process.execPath, "usr/local/bin/node");
      directory.copy(join(npm(["root", "-g"]), "npm"), "usr/local/lib/node_modules/npm");
      directory.link("usr/local/bin/npm", "../lib/node_modules/npm/bin/npm-cli.js");
      for (const program of ["sh", "env", "ln", "mkdir"]) directory.program(find(program) ?? program, `bin/${program}`);
      directory.link("usr/bin", "../bin");
      directory.copy(join(npm(["config", "get", "cache"]), "_cacache"), "npm/_cacache");
    },
  );
}

/** An image of a Go program, started as the published one is. */
export async function makeProgramImage(engine: Engine, name: string, binary: string, path: string): Promise<void> {
  await engine.image(name, [`ENTRYPOINT ["/${path}"]`], (directory) => directory.program(binary, path));
}
