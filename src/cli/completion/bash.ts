import type { CommandEntry, OptionEntry, Table } from "./table.ts";

/** A completion for bash 3.2 or newer; bash-completion is not needed. */
export function bashCompletion({ program, root, commands }: Table): string {
  const name = `_${program.replaceAll("-", "_")}`;
  const names = commands.flatMap(({ name: own, aliases }) => [own, ...aliases]);
  const valued = [root, ...commands].flatMap(({ options }) => options.filter(({ value }) => value));
  const flags = [...new Set(valued.flatMap(spellings))];
  return `# bash completion for ${program}; made by: ${program} completion bash
${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command="" arguments=0 i
  COMPREPLY=()
  # --by=e2e comes as three words.
  if [[ $cur == "=" ]]; then cur=""; elif [[ $prev == "=" ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      ${flags.join("|")})
        [[ \${COMP_WORDS[i+1]} == "=" ]] && ((i++))
        ((i++)) ;;
      -*) ;;
      *) if [[ -z $command ]]; then command=\${COMP_WORDS[i]}; else ((arguments++)); fi ;;
    esac
  done
  case "$command $prev" in
${[root, ...commands].flatMap(valueCases).join("\n")}
  esac
  if [[ $cur == -* ]]; then
    case $command in
${commands.map(({ name: own, aliases, options }) => `      ${[own, ...aliases].join("|")}) ${words(options.flatMap(spellings))} ;;`).join("\n")}
      "") ${words(root.options.flatMap(spellings))} ;;
    esac
    return
  fi
  case "$command $arguments" in
    " 0") ${words(names)} ;;
${commands.flatMap(argumentCases).join("\n")}
  esac
}
complete -F ${name} ${program}
`;
}

function spellings({ long, short }: OptionEntry): string[] {
  return [long, short].filter((flag) => flag !== "");
}

function words(list: readonly string[]): string {
  return `COMPREPLY=($(compgen -W ${quoted(list.join(" "))} -- "$cur"))`;
}

const FILES = 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur"))';

function valueCases({ name, aliases, options }: CommandEntry): string[] {
  return options.flatMap((option) => {
    const { value } = option;
    if (!value) return [];
    const patterns = [name, ...aliases].flatMap((own) => spellings(option).map((flag) => quoted(`${own} ${flag}`)));
    const reply = value.kind === "file" ? `${FILES}; ` : value.kind === "choice" ? `${words(value.choices)}; ` : "";
    return [`    ${patterns.join("|")}) ${reply}return ;;`];
  });
}

function argumentCases({ name, aliases, arguments: list }: CommandEntry): string[] {
  return list.flatMap(({ kind, choices, isVariadic }, index) => {
    if (kind === "text") return [];
    const patterns = [name, ...aliases].map((own) => `${quoted(`${own} `)}${isVariadic ? "*" : index}`);
    return [`    ${patterns.join("|")}) ${kind === "file" ? FILES : words(choices)} ;;`];
  });
}

/** A word for a shell. */
function quoted(text: string): string {
  return `"${text.replace(/["$`\\]/g, "\\$&")}"`;
}
