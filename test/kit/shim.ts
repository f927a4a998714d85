import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ReplayStep } from "./captures.ts";
import { OtlpClient, sendHttp } from "./otlp-client.ts";
import { accepts, type Exit, freePorts, Program } from "./process.ts";

/** What a config needs to know; all of it is made before the program starts. */
export interface ShimPlaces {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly metricsPort: number;
  /** Empty files, to be included by a log receiver. */
  readonly errorLog: string;
  readonly accessLog: string;
}

/** The built program as a child process with files and ports of its own. `stop()` it in a finally or an afterEach. */
export class Shim {
  readonly places: ShimPlaces;
  readonly program: Program;
  readonly client: OtlpClient;
  readonly #folder: string;

  private constructor(places: ShimPlaces, program: Program, folder: string) {
    this.places = places;
    this.program = program;
    this.#folder = folder;
    this.client = new OtlpClient(`127.0.0.1:${places.grpcPort}`);
  }

  /** Starts `node dist/main.js --config FILE` and resolves when both OTLP ports accept. */
  static async start(config: (places: ShimPlaces) => string): Promise<Shim> {
    const folder = mkdtempSync(join(tmpdir(), "omnishim-test-"));
    const [grpcPort, httpPort, metricsPort] = (await freePorts(3)) as [number, number, number];
    const places = {
      grpcPort,
      httpPort,
      metricsPort,
      errorLog: join(folder, "error.log"),
      accessLog: join(folder, "access.log"),
    };
    for (const file of [places.errorLog, places.accessLog]) writeFileSync(file, "");
    const file = join(folder, "otel.yml");
    writeFileSync(file, config(places));
    const shim = new Shim(places, Program.cli(["--config", file]), folder);
    try {
      await accepts(grpcPort, shim.program);
      await accepts(httpPort, shim.program);
    } catch (error) {
      await shim.stop();
      throw error;
    }
    return shim;
  }

  /** "http://127.0.0.1:PORT" */
  get http(): string {
    return `http://127.0.0.1:${this.places.httpPort}`;
  }

  /**
   * Plays `steps`: appends to the log files and sends the payloads, all of which are acknowledged when it resolves. `paced`
   * goes on when a payload was acknowledged or a moment has passed (its acknowledgement may wait for lines that come later);
   * otherwise everything is sent at once. @throws when a payload is refused
   */
  async replay(
    steps: readonly ReplayStep[],
    options: { protocol?: "grpc" | "http"; paced?: boolean } = {},
  ): Promise<void> {
    const { protocol = "grpc", paced = false } = options;
    const sent: Promise<unknown>[] = [];
    for (const step of steps) {
      if (step.kind === "log") appendFileSync(this.places.errorLog, step.bytes);
      else if (step.kind === "access") appendFileSync(this.places.accessLog, step.bytes);
      else {
        const { bytes } = step.payload;
        const answer =
          protocol === "grpc"
            ? this.client.send("traces", bytes)
            : sendHttp(this.http, "traces", Uint8Array.from(bytes));
        sent.push(answer);
        answer.catch(() => {}); // a refusal is thrown below, with the others
        if (paced) await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 50))]);
      }
    }
    await Promise.all(sent);
  }

  /** The samples of one metric on the Prometheus port, as written: {'name{labels}': value}. */
  async metric(name: string): Promise<Record<string, number>> {
    const response = await fetch(`http://127.0.0.1:${this.places.metricsPort}/metrics`);
    const lines = (await response.text()).split("\n").filter((line) => line.startsWith(name));
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]),
    );
  }

  /** SIGTERM, the exit, and its files removed. Idempotent. */
  async stop(): Promise<Exit> {
    this.client.close();
    const exit = await this.program.stop();
    rmSync(this.#folder, { recursive: true, force: true });
    return exit;
  }
}
