import { readFile } from "node:fs/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Note } from "../config/migrate/migrate.ts";
import { CommandError, type Edge } from "./edge.ts";

interface Options {
  readonly from: number;
  readonly json: boolean;
}

/** The Collector that OmniInfer's documents use. */
const DEFAULT_FROM = "0.103";

/** `omnishim migrate FILE`: see docs/migrate.md. */
export function addMigrate(program: Command, edge: Edge, setCode: (code: number) => void): void {
  program
    .command("migrate")
    .summary("print the newest equivalent of an older Collector's configuration, and why")
    .description(
      "Prints FILE with the names and settings of the newest Collector; comments and layout stay. Each change and its reason goes to stderr. FILE itself is not changed.",
    )
    .argument("<file>", "the Collector's configuration")
    .addOption(
      new Option(
        "--from <version>",
        "the Collector that it was written for: defaults that have changed since are written out",
      )
        .argParser(release)
        .default(release(DEFAULT_FROM), DEFAULT_FROM),
    )
    .option("--json", "print text, changes, remarks and problems as JSON", false)
    .addHelpText("after", EXIT_CODES)
    .action(async (file: string, options: Options) => setCode(await run(file, options, edge)));
}

const EXIT_CODES = `
Exit codes:
  0  what was printed can be run
  1  it cannot: what is left to do by hand is on stderr; or FILE cannot be read`;

/** "0.103", "v0.103.1" -> 103. */
function release(text: string): number {
  const [, minor] = /^v?0\.(\d{1,4})(?:\.\d+)?$/.exec(text) ?? [];
  if (minor === undefined) throw new InvalidArgumentError("Write a release of the Collector, such as 0.103.");
  return Number(minor);
}

async function run(file: string, { from, json }: Options, edge: Edge): Promise<number> {
  const [{ migrate }, { formatProblems, problemLine, positionOf }, { readConfig }, { factories }] = await Promise.all([
    import("../config/migrate/migrate.ts"),
    import("../config/report.ts"),
    import("./load.ts"),
    import("../components.ts"),
  ]);
  const source = { name: file, text: await textOf(file) };
  const known = Object.fromEntries(
    Object.entries(factories).map(
      ([section, list]: [string, readonly { type: string; aliases?: readonly string[] }[]]) => [
        section,
        new Set(list.flatMap(({ type, aliases = [] }) => [type, ...aliases])),
      ],
    ),
  );
  const result = migrate(source, { from, known });
  if ("issues" in result) {
    const problems = result.issues.map(({ at, message }) => ({ path: [], at, message: `not valid YAML: ${message}` }));
    throw new CommandError("not valid YAML", formatProblems(problems));
  }
  const { text, changes, remarks } = result;
  const options = { config: [], set: [], featureGates: [] };
  const { problems, warnings } = await readConfig(options, edge, { name: `${file}, migrated`, text });
  if (json) {
    const left = problems.map((problem) => ({
      problem: problemLine(problem),
      ...(problem.hint ? { hint: problem.hint } : {}),
      ...(problem.at ? { line: positionOf(problem.at).line } : {}),
    }));
    edge.stdout.write(`${JSON.stringify({ text, changes, remarks, problems: left }, undefined, 2)}\n`);
  } else {
    edge.stdout.write(text);
    for (const note of changes) edge.stderr.write(`${describe(file, note)}\n`);
    for (const note of remarks) edge.stderr.write(`${describe(file, note)}\n`);
    for (const warning of warnings) edge.stderr.write(`Warning: ${warning}\n`);
    if (problems.length > 0) edge.stderr.write(`${formatProblems(problems)}\n`);
    else if (changes.length === 0) edge.stderr.write(`${file}: nothing has to be changed\n`);
  }
  return problems.length > 0 ? 1 : 0;
}

function describe(file: string, { line, key, what, reason }: Note): string {
  return reason === "" ? `${file}:${line}: remark: ${key}: ${what}` : `${file}:${line}: ${key}: ${what}: ${reason}`;
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new CommandError(`cannot read ${file}: ${(error as Error).message}`);
  }
}
