/** The command line: which command, which options, and how failures look. */
import { Command, CommanderError } from "commander";
import { closest } from "../config/suggest.ts";
import { buildInfo } from "./build-info.ts";
import { addCollect } from "./collect.ts";
import { addCompletion } from "./completion.ts";
import { addConvert } from "./convert.ts";
import type { DemoOptions } from "./demo.ts";
import { addDoctor } from "./doctor.ts";
import { CommandError, type Edge } from "./edge.ts";
import { addExplain } from "./explain.ts";
import { addInit } from "./init.ts";
import { addMigrate } from "./migrate.ts";
import { addConfigOptions, allOptions, DEFAULT_SHUTDOWN_TIMEOUT } from "./options.ts";
import type { PrintOptions } from "./print-config.ts";
import { addProbe } from "./probe.ts";
import { addReport } from "./report.ts";
import type { RunOptions } from "./run.ts";
import { addStats } from "./stats.ts";

/**
 * Runs one command line.
 * @param args without node and script.
 * @returns the exit code; never throws.
 */
export async function main(args: readonly string[], edge: Edge): Promise<number> {
  let code = 0;
  const program = createProgram(edge, (result) => {
    code = result;
  });
  try {
    await program.parseAsync([...args], { from: "user" });
    return code;
  } catch (error) {
    // Commander has printed its own already: exit code 0 is --help and --version.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 1;
    if (error instanceof CommandError) edge.stderr.write(`${error.text ?? `Error: ${error.message}`}\n`);
    else edge.stderr.write(`Error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    return 1;
  }
}

/**
 * The table of commands. A command's code is loaded when it is asked for: the offline commands need none of the
 * service's, which is most of it.
 */
export function createProgram(edge: Edge, setCode: (code: number) => void): Command {
  const { command: name, version } = buildInfo;
  const program = new Command(name)
    .description("Receives OTLP, follows Omni Proxy's log, and sends one trace a request on to Jaeger.")
    .usage("[options] [command]")
    .version(`${name} version ${version}`, "-v, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand(false)
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => edge.stdout.write(text),
      writeErr: (text) => edge.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, "Error: ")),
    })
    .allowExcessArguments()
    .option(
      "--shutdown-timeout <duration>",
      "time to send on what was accepted before the process ends",
      DEFAULT_SHUTDOWN_TIMEOUT,
    )
    .action(async (options: RunOptions, self: Command) => {
      const [word] = self.args;
      if (word !== undefined) throw unknownCommand(word, self);
      const { run } = await import("./run.ts");
      setCode(await run(options, edge));
    });
  addConfigOptions(program);
  program.addHelpText("after", HELP);

  addConfigOptions(program.command("validate"))
    .description("check a configuration without running it: every problem with its place")
    .action(async (_, self: Command) => {
      const { validate } = await import("./validate.ts");
      await validate(allOptions(self), edge);
    });
  program
    .command("components")
    .description("list the components a configuration can name")
    .action(async () => {
      const { listComponents } = await import("./components.ts");
      listComponents(edge);
    });
  addConfigOptions(program.command("print-config").alias("print-initial-config"))
    .description("print the configuration that would run")
    .option(
      "--mode <mode>",
      "redacted: with defaults, secrets hidden; unredacted: merged and expanded only",
      "redacted",
    )
    .option("--format <format>", "yaml or json", "yaml")
    .action(async (_, self: Command) => {
      const { printConfig } = await import("./print-config.ts");
      await printConfig(allOptions<PrintOptions>(self), edge);
    });
  addDoctor(program, edge, setCode);
  addInit(program, edge);
  addMigrate(program, edge, setCode);
  program
    .command("demo")
    .description("replay a bundled capture through the program and show its merged traces here")
    .option("--port <port>", "port for OTLP/gRPC on 127.0.0.1; 0 takes one that is free", "0")
    .action(async (options: DemoOptions) => {
      const { demo } = await import("./demo.ts");
      setCode(await demo(options, edge));
    });
  addConvert(program, edge, setCode);
  addStats(program, edge, setCode);
  addExplain(program, edge, setCode);
  addReport(program, edge, setCode);
  addCollect(program, edge, setCode);
  addProbe(program, edge, setCode);
  addCompletion(program, edge);
  return program;
}

function unknownCommand(word: string, program: Command): CommandError {
  const near = closest(
    word,
    program.commands.map((command) => command.name()),
  );
  const hint = /\.ya?ml$/.test(word) ? `; for a file write --config ${word}` : near ? `; did you mean ${near}?` : "";
  return new CommandError(
    `unknown command "${word}" for "${program.name()}"${hint}\nRun '${program.name()} --help' for usage.`,
  );
}

const HELP = `
Examples:
  omnishim                                  built-in default: OTLP in, traces printed here
  omnishim --config otel.yml                as the file says
  omnishim --config otel.yml --set exporters::otlp::endpoint=jaeger:4317
  omnishim demo                             a real capture, replayed and shown as merged traces
  omnishim validate --config otel.yml       every problem of the file, with line and column
  omnishim doctor --config otel.yml         what is wrong around it: ports, Jaeger, logs, request ids, clocks, disk

Signals: SIGTERM and SIGINT stop gracefully, a second one at once; SIGHUP reads the configuration again.
Environment: OMNISHIM_LISTEN_HOST is the host of every endpoint that the file does not give (default localhost);
OMNISHIM_LOG is Omni Proxy's log for the built-in default.`;
