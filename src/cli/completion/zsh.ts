import type { ArgumentEntry, CommandEntry, OptionEntry, Table } from "./table.ts";

/** A completion for zsh's compsys: a file `_omnishim` in a folder of fpath, or sourced after compinit. */
export function zshCompletion({ program, root, commands }: Table): string {
  const name = `_${program}`;
  const listed = commands.map(({ name: own, summary }) => `    ${quoted(`${own}:${escaped(summary)}`)}`);
  return `#compdef ${program}
# zsh completion for ${program}; made by: ${program} completion zsh
${name}() {
  local context state state_descr line
  typeset -A opt_args
  local -a commands
  commands=(
${listed.join("\n")}
  )
  _arguments -C \\
${root.options.map((option) => `    ${optionSpec(option)} \\`).join("\n")}
    '1:command:->command' \\
    '*::argument:->argument'
  case $state in
    command) _describe -t commands command commands ;;
    argument)
      case $line[1] in
${commands.map(commandCase).join("\n")}
      esac ;;
  esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  ${name} "$@"
else
  compdef ${name} ${program}
fi
`;
}

function commandCase({ name, aliases, options, arguments: list }: CommandEntry): string {
  const specs = [...options.map(optionSpec), ...list.map(argumentSpec)];
  return `        ${[name, ...aliases].join("|")})
          _arguments \\
${specs.map((spec) => `            ${spec}`).join(" \\\n")} ;;`;
}

function optionSpec({ long, short, description, value }: OptionEntry): string {
  const text = `[${escaped(description)}]`;
  const action = value ? `:${escaped(value.shown.replace(/[<>[\].]/g, ""))}:${actionOf(value)}` : "";
  if (short === "" || value) return quoted(`*${long}${value ? "=" : ""}${text}${action}`);
  return `{${short},${long}}${quoted(`${text}${action}`)}`;
}

function argumentSpec(argument: ArgumentEntry, index: number): string {
  const { name, isVariadic, shown } = argument;
  const place = isVariadic ? "*" : `${index + 1}`;
  return quoted(`${place}:${shown.startsWith("[") && !isVariadic ? ":" : ""}${escaped(name)}:${actionOf(argument)}`);
}

function actionOf({ kind, choices }: Pick<ArgumentEntry, "kind" | "choices">): string {
  if (kind === "file") return "_files";
  return kind === "choice" ? `(${choices.join(" ")})` : " ";
}

/** Text inside of a spec: colons and brackets have a meaning there. */
function escaped(text: string): string {
  return text.replace(/[\\:[\]]/g, "\\$&");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
