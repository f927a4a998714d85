import { Argument, type Command } from "commander";
import type { Edge } from "./edge.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

/** `omnishim completion SHELL`: a script made from the table of commands, so that it knows what the program knows. */
export function addCompletion(program: Command, edge: Edge): void {
  program
    .command("completion")
    .summary("print a completion script for a shell")
    .description("Prints a script that completes commands, options, their words and files.")
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .addHelpText("after", HELP)
    .action(async (shell: (typeof SHELLS)[number]) => {
      const [{ tableOf }, { bashCompletion }, { zshCompletion }, { fishCompletion }] = await Promise.all([
        import("./completion/table.ts"),
        import("./completion/bash.ts"),
        import("./completion/zsh.ts"),
        import("./completion/fish.ts"),
      ]);
      const make = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion }[shell];
      edge.stdout.write(make(tableOf(program)));
    });
}

const HELP = `
Where it goes:
  bash  omnishim completion bash > /etc/bash_completion.d/omnishim, or source <(omnishim completion bash)
  zsh   omnishim completion zsh > _omnishim in a folder of fpath, before compinit
  fish  omnishim completion fish > ~/.config/fish/completions/omnishim.fish`;
