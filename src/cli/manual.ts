/** The manual page, made from the table of commands: deploy/man/omnishim.1. */
import type { CommandEntry, OptionEntry, Table } from "./completion/table.ts";

/** The page in roff's man macros (man(7)). @param version of the program, for the footer */
export function manualPage({ program, root, commands }: Table, version: string): string {
  const lines = [
    `.\\" Made from the table of commands (src/cli/manual.ts): npx vitest run src/cli/manual.test.ts --update`,
    `.TH ${program.toUpperCase()} 1 "" "${program} ${version}" "User Commands"`,
    ".SH NAME",
    `${program} \\- ${roff(root.description.replace(/\.$/, ""))}`,
    ".SH SYNOPSIS",
    `.B ${program}`,
    "[options]",
    ...commands.flatMap((command) =>
      [".br", `.B ${roff(`${program} ${command.name}`)}`, roff(synopsisOf(command))].filter((line) => line !== ""),
    ),
    ".SH DESCRIPTION",
    `Without a command, ${program} runs the configuration until it is stopped.`,
    ".SH OPTIONS",
    ...root.options.flatMap(optionLines),
    ".SH COMMANDS",
    ...commands.flatMap(commandLines),
    ".SH NOTES",
    ...asItIs(root.notes),
    ".SH EXIT STATUS",
    "0 after a stop that was asked for, or when a command has done what it should;",
    "1 when the start or the command failed, with a message on standard error;",
    "130 and 143 when SIGINT or SIGTERM ended an offline command.",
  ];
  // An empty line is a request for a blank one.
  return `${lines.map((line) => (line === "" ? ".sp" : line)).join("\n")}\n`;
}

function synopsisOf({ options, arguments: list }: CommandEntry): string {
  return [
    ...(options.some(({ long }) => long !== "--help") ? ["[options]"] : []),
    ...list.map(({ shown }) => shown),
  ].join(" ");
}

function commandLines(command: CommandEntry): string[] {
  const { name, aliases, description, options, arguments: list, notes } = command;
  return [
    `.SS ${roff(`${name} ${synopsisOf(command)}`)}`,
    roff(sentence(description)),
    ...(aliases.length > 0 ? [roff(`Also called ${aliases.join(", ")}.`)] : []),
    ...list.flatMap(({ shown, description: text, choices }) => [
      ".TP",
      `.I ${roff(shown.replace(/[<>[\]]/g, ""))}`,
      roff(`${text}${choices.length > 0 ? `: ${choices.join(", ")}` : ""}`),
    ]),
    ...options.filter(({ long }) => long !== "--help").flatMap(optionLines),
    ...(notes === "" ? [] : [".PP", ...asItIs(notes)]),
  ];
}

function optionLines({ long, short, value, description, fallback }: OptionEntry): string[] {
  const flags = [short, long].filter((flag) => flag !== "").map((flag) => `\\fB${roff(flag)}\\fR`);
  const shown = value ? ` \\fI${roff(value.shown.replace(/[<>[\]]/g, ""))}\\fR` : "";
  const choices = value && value.choices.length > 0 ? ` (${value.choices.join(", ")})` : "";
  return [
    ".TP",
    `${flags.join(", ")}${shown}`,
    roff(`${description}${choices}${fallback === "" ? "" : `; default: ${fallback}`}`),
  ];
}

/** Text with its own lines. */
function asItIs(text: string): string[] {
  return [".nf", ...text.split("\n").map(roff), ".fi"];
}

function sentence(text: string): string {
  const upper = text[0]?.toUpperCase() + text.slice(1);
  return upper.endsWith(".") ? upper : `${upper}.`;
}

/** Text that means itself: no escapes, no hyphens that may be broken or become dashes, no requests. */
function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^([.'])/, "\\&$1");
}
