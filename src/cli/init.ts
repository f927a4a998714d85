import { writeFile } from "node:fs/promises";
import { type Command, Option } from "commander";
import { CommandError, type Edge } from "./edge.ts";
import { DEPLOYMENTS, type Deployment } from "./init-config.ts";

interface Options {
  readonly deployment: Deployment;
  readonly jaeger?: string;
  readonly log?: readonly string[];
  readonly listen?: string;
  readonly queue?: string;
}

/** `omnishim init [FILE]`: writes a commented configuration, and never over one. */
export function addInit(program: Command, edge: Edge): void {
  program
    .command("init")
    .summary("write a commented otel.yml for your deployment")
    .description("Writes a commented configuration. A file that is there already is left as it is.")
    .argument("[file]", "file to write, or - to print it", "otel.yml")
    .addOption(
      new Option("--deployment <where>", "native: beside Jaeger on a host; compose: in a container; sidecar: in a pod")
        .choices(DEPLOYMENTS)
        .default("native"),
    )
    .option("--jaeger <endpoint>", "HOST:4317 for OTLP over gRPC, http://HOST:4318 for HTTP")
    .option("--log <files...>", "Omni Proxy's logs; --log none for a file without Omni Proxy")
    .option("--listen <host>", "address of the OTLP ports: localhost, or 0.0.0.0 when vLLM runs elsewhere")
    .option("--queue <folder>", "keep the sending queue in this folder, so that it survives a crash")
    .action(async (file: string, options: Options) => init(file, options, edge));
}

/** @throws CommandError when the file is there, cannot be written, or would not be valid */
async function init(file: string, { deployment, jaeger, log, listen, queue }: Options, edge: Edge): Promise<void> {
  const [{ initialConfig }, { loadConfig }] = await Promise.all([import("./init-config.ts"), import("./load.ts")]);
  const logs = log?.join() === "none" ? [] : log;
  const text = initialConfig({ deployment, jaeger, logs, listen, queue });
  // What was given may be no address or no pattern: said as it would be said of the file.
  await loadConfig({ config: [], set: [], featureGates: [] }, edge, { name: file === "-" ? "otel.yml" : file, text });
  if (file === "-") {
    edge.stdout.write(text);
    return;
  }
  await writeFile(file, text, { flag: "wx" }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "EEXIST")
      throw new CommandError(
        `${file} is there already and was left as it is: give another name, or - to print the file`,
      );
    throw new CommandError(`cannot write ${file}: ${error.message}`);
  });
  edge.stderr.write(`${file}: written. Next: omnishim doctor --config ${file}\n`);
}
