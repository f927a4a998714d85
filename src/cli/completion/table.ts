/** The command line as data, read from commander's own table, so that completions and the manual cannot differ from it. */
import type { EventEmitter } from "node:events";
import type { Argument, Command, Option } from "commander";

/** What a value is: "file" is completed with names of files, "choice" with its words, "text" not at all. */
export type ValueKind = "file" | "choice" | "text";

/** Something that a word of the command line can be. */
interface Value {
  readonly kind: ValueKind;
  readonly choices: readonly string[];
  /** As the help has it: "<file>", "[out]", "<files...>". */
  readonly shown: string;
}

export interface OptionEntry {
  /** "--config". */
  readonly long: string;
  /** "-h", or "". */
  readonly short: string;
  readonly description: string;
  /** Undefined for a switch. */
  readonly value: Value | undefined;
  /** Worth saying: not for switches and for what is off unless given. */
  readonly fallback: string;
}

export interface ArgumentEntry extends Value {
  readonly name: string;
  readonly description: string;
  readonly isVariadic: boolean;
}

export interface CommandEntry {
  /** "" for the program itself. */
  readonly name: string;
  readonly aliases: readonly string[];
  /** One line. */
  readonly summary: string;
  readonly description: string;
  readonly options: readonly OptionEntry[];
  readonly arguments: readonly ArgumentEntry[];
  /** What the help says below its options. */
  readonly notes: string;
}

/** The program. */
export interface Table {
  readonly program: string;
  readonly root: CommandEntry;
  /** Without hidden ones, in the order of the help. */
  readonly commands: readonly CommandEntry[];
}

/** What words that stand for files are called in options and arguments. */
const FILES = /^(?:files?|folder|logs?|location|out|source|target|server-list|ssh-config)$/;

/** Reads the table of `program`. */
export function tableOf(program: Command): Table {
  const commands = program.createHelp().visibleCommands(program);
  return {
    program: program.name(),
    root: entryOf(program, ""),
    commands: commands.map((command) => entryOf(command, command.name())),
  };
}

function entryOf(command: Command, name: string): CommandEntry {
  const help = command.createHelp();
  return {
    name,
    aliases: command.aliases(),
    summary: command.summary() || command.description(),
    description: command.description(),
    options: help.visibleOptions(command).map(optionOf),
    arguments: command.registeredArguments.map(argumentOf),
    notes: notesOf(command),
  };
}

function optionOf(option: Option): OptionEntry {
  const shown = option.flags.split(/ (?=[<[])/)[1];
  const fallback =
    option.defaultValueDescription ?? (isTelling(option.defaultValue) ? String(option.defaultValue) : "");
  return {
    long: option.long ?? "",
    short: option.short ?? "",
    description: option.description,
    value: shown === undefined ? undefined : wordOf(shown, option.argChoices),
    fallback,
  };
}

function isTelling(value: unknown): value is string | number {
  return (typeof value === "string" && value !== "") || typeof value === "number";
}

function argumentOf(argument: Argument): ArgumentEntry {
  const name = argument.name();
  const inner = argument.variadic ? `${name}...` : name;
  return {
    name,
    description: argument.description,
    isVariadic: argument.variadic,
    ...wordOf(argument.required ? `<${inner}>` : `[${inner}]`, argument.argChoices),
  };
}

function wordOf(shown: string, choices: readonly string[] | undefined): Value {
  if (choices) return { kind: "choice", choices, shown };
  return { kind: FILES.test(shown.replace(/[<>[\].]/g, "")) ? "file" : "text", choices: [], shown };
}

/** `addHelpText("after", …)` listens for this event of commander's. */
function notesOf(command: Command): string {
  let text = "";
  // A Command is an EventEmitter, which its types do not say.
  (command as unknown as EventEmitter).emit("afterHelp", {
    error: false,
    command,
    write: (part: string) => (text += part),
  });
  return text.trim();
}
