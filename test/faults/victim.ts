import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { accepts, CLI, type Exit, freePorts, Program } from "../kit/process.ts";

/** What a configuration needs to know. */
export interface VictimPlaces {
  readonly grpc: number;
  readonly http: number;
  readonly metrics: number;
  /** A folder for file_storage. */
  readonly storage: string;
  /** A folder for logs, and Omni Proxy's error log in it. */
  readonly logs: string;
  readonly log: string;
}

/** A start takes a second of a processor; machines that run these tests may have others to share it with. */
const START_MS = 60_000;

/** How often it has said that a new configuration runs. */
function reloads(output: string): number {
  return output.split("The configuration was reloaded").length - 1;
}

/** The program that is killed and started again, with the same ports, files and configuration each time. */
export class Victim {
  readonly places: VictimPlaces;
  readonly #command: (config: string) => readonly [command: string, ...args: string[]];
  readonly #config: string;
  readonly #folder: string;
  #program: Program | undefined;
  /** Everything that was printed by runs that have ended. */
  #printed = "";

  private constructor(
    folder: string,
    places: VictimPlaces,
    config: string,
    command: (config: string) => readonly [string, ...string[]],
  ) {
    this.#folder = folder;
    this.places = places;
    this.#config = config;
    this.#command = command;
  }

  /**
   * @param storage where file_storage is, for disks of a certain size
   * @param command what to start; the built program unless given
   */
  static async create(
    config: (places: VictimPlaces) => string,
    options: { storage?: string; command?: (config: string) => readonly [string, ...string[]] } = {},
  ): Promise<Victim> {
    const folder = mkdtempSync(join(tmpdir(), "omnishim-faults-"));
    const [grpc, http, metrics] = (await freePorts(3)) as [number, number, number];
    const places = {
      grpc,
      http,
      metrics,
      storage: options.storage ?? join(folder, "storage"),
      logs: join(folder, "logs"),
      log: join(folder, "logs", "nginx_error.log"),
    };
    for (const path of [places.storage, places.logs]) mkdirSync(path, { recursive: true });
    const file = join(folder, "config.yml");
    writeFileSync(file, config(places));
    return new Victim(folder, places, file, options.command ?? ((path) => [process.execPath, CLI, "--config", path]));
  }

  /** Resolves when both ports accept. */
  async start(): Promise<void> {
    const [command, ...args] = this.#command(this.#config);
    const program = new Program(command, args);
    this.#program = program;
    await accepts(this.places.grpc, program, START_MS);
    await accepts(this.places.http, program, START_MS);
  }

  /** Ends it as `kill -9` does. */
  kill(): Promise<Exit> {
    return this.#end("SIGKILL");
  }

  /** Ends it as a service manager does, which waits up to `timeoutMs`. */
  terminate(timeoutMs?: number): Promise<Exit> {
    return this.#end("SIGTERM", timeoutMs);
  }

  /** Gives it another configuration and SIGHUP; resolves when that runs. */
  async reload(config: (places: VictimPlaces) => string): Promise<void> {
    const program = this.#program;
    if (!program) throw new Error("it is not running");
    const before = reloads(program.output);
    writeFileSync(this.#config, config(this.places));
    program.signal("SIGHUP");
    await program.until("the configuration was read again", (output) => reloads(output) > before || undefined);
  }

  get pid(): number {
    return this.#program?.pid ?? -1;
  }

  /** What all runs have printed. */
  get output(): string {
    return this.#printed + (this.#program?.output ?? "");
  }

  /** One of its own metrics, summed over labels; undefined when there is none. */
  async metric(name: string): Promise<number | undefined> {
    const response = await fetch(`http://127.0.0.1:${this.places.metrics}/metrics`);
    const samples = (await response.text())
      .split("\n")
      .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    if (samples.length === 0) return undefined;
    return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
  }

  async remove(): Promise<void> {
    if (this.#program) await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals, timeoutMs?: number): Promise<Exit> {
    const program = this.#program;
    if (!program) throw new Error("it is not running");
    const exit = await program.stop(signal, timeoutMs);
    this.#printed += program.output;
    this.#program = undefined;
    return exit;
  }
}
