import type { CommandEntry, OptionEntry, Table } from "./table.ts";

/** A completion for fish 3 or newer. */
export function fishCompletion({ program, root, commands }: Table): string {
  const all = commands.flatMap(({ name, aliases }) => [name, ...aliases]).join(" ");
  const none = `not __fish_seen_subcommand_from ${all}`;
  const lines = [
    `# fish completion for ${program}; made by: ${program} completion fish`,
    `complete -c ${program} -f`,
    ...commands.map(
      ({ name, summary }) => `complete -c ${program} -n ${quoted(none)} -a ${name} -d ${quoted(summary)}`,
    ),
    ...root.options.map((option) => optionLine(program, none, option)),
    ...commands.flatMap((command) => commandLines(program, command)),
  ];
  return `${lines.join("\n")}\n`;
}

function commandLines(program: string, { name, aliases, options, arguments: list }: CommandEntry): string[] {
  const seen = `__fish_seen_subcommand_from ${[name, ...aliases].join(" ")}`;
  const choices = list.flatMap((argument) => argument.choices);
  return [
    ...(list.some(({ kind }) => kind === "file") ? [`complete -c ${program} -n ${quoted(seen)} -F`] : []),
    ...(choices.length > 0 ? [`complete -c ${program} -n ${quoted(seen)} -a ${quoted(choices.join(" "))}`] : []),
    ...options.map((option) => optionLine(program, seen, option)),
  ];
}

function optionLine(program: string, condition: string, { long, short, description, value }: OptionEntry): string {
  const parts = [`complete -c ${program} -n ${quoted(condition)}`, `-l ${long.replace(/^--/, "")}`];
  if (short !== "") parts.push(`-s ${short.replace(/^-/, "")}`);
  if (value) parts.push(value.kind === "file" ? "-r -F" : "-x");
  if (value?.kind === "choice") parts.push(`-a ${quoted(value.choices.join(" "))}`);
  parts.push(`-d ${quoted(description)}`);
  return parts.join(" ");
}

function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
