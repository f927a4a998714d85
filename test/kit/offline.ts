/** Runs offline commands on captures in a folder of their own. */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ConvertOptions, type ConvertReport, convert } from "../../src/offline/convert.ts";
import type { JaegerTrace } from "../../src/offline/jaeger/model.ts";
import { NO_PROGRESS } from "../../src/offline/reading.ts";

const captures = fileURLToPath(new URL("../fixtures/captures/", import.meta.url));

/** A folder for one test. Call `remove` when it is done. */
export class Workplace {
  readonly path = mkdtempSync(join(tmpdir(), "omnishim-offline-"));

  /** A path in it. */
  at(name: string): string {
    return join(this.path, name);
  }

  /** Puts a file there. */
  write(name: string, content: string | Uint8Array): string {
    mkdirSync(dirname(this.at(name)), { recursive: true });
    writeFileSync(this.at(name), content);
    return this.at(name);
  }

  /** Puts a capture's logs there, as collect_logs.sh would. Returns the folder. */
  logs(capture: string, folder = "logs"): string {
    mkdirSync(this.at(folder), { recursive: true });
    copyFileSync(join(captures, capture, "error.log"), join(this.at(folder), "nginx_error.log"));
    copyFileSync(join(captures, capture, "access.log"), join(this.at(folder), "nginx_access.log"));
    return this.at(folder);
  }

  /** Puts one capture's payloads there as one recording with lengths in front. */
  recording(capture: string, name = "spans.bin"): string {
    const meta = readFileSync(join(captures, capture, "otlp/meta.jsonl"), "utf8")
      .trim()
      .split("\n");
    const frames = meta.flatMap((line) => {
      const bytes = readFileSync(join(captures, capture, "otlp", (JSON.parse(line) as { file: string }).file));
      const head = Buffer.alloc(4);
      head.writeUInt32BE(bytes.length);
      return [head, bytes];
    });
    return this.write(name, Buffer.concat(frames));
  }

  read(name: string): string {
    return readFileSync(this.at(name), "utf8");
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** The folder of a capture. */
export function captureFolder(name: string): string {
  return join(captures, name);
}

/** Options that convert `logs` into `out`, changed as told. */
export function convertOptions(
  logs: string,
  out: string | undefined,
  changes: Partial<ConvertOptions> = {},
): ConvertOptions {
  return {
    logs,
    out,
    format: "jaeger",
    endpoint: undefined,
    otlp: [],
    selection: { ids: [], sinceMs: undefined, untilMs: undefined, top: undefined },
    skip: 1,
    compat: false,
    timezone: "auto",
    maxFileBytes: 20 * 1024 * 1024,
    merge: {},
    ...changes,
  };
}

/** Converts and reads the Jaeger files back. */
export async function convertToJaeger(
  logs: string,
  out: string,
  changes: Partial<ConvertOptions> = {},
): Promise<{ report: ConvertReport; traces: JaegerTrace[] }> {
  const report = await convert(convertOptions(logs, out, changes), NO_PROGRESS);
  const traces = report.files.flatMap(
    ({ path }) => (JSON.parse(readFileSync(path, "utf8")) as { data: JaegerTrace[] }).data,
  );
  return { report, traces };
}
