import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { command } from "../../test/kit/edge.ts";

interface Verdict {
  readonly name: string;
  readonly yaml: string;
  readonly valid: boolean;
  readonly error?: string;
}

/** See test/fixtures/config/README.md. */
const verdicts = JSON.parse(
  readFileSync(new URL("../../test/fixtures/config/verdicts.json", import.meta.url), "utf8"),
) as Verdict[];

/** Where this program's verdict differs, and why that is meant. */
const differences: Readonly<Record<string, string>> = {
  enc: "the Collector refuses an unknown log encoding when it starts, not when it validates",
  floatint2: "the Collector cuts 5.5 to 5 without a word",
  sameport: "the Collector finds two servers on one port when it starts, not when it validates",
  readersempty: "an empty list of readers means no metrics page here",
  trimkey: "blanks around a component's key are taken off before its section is read; the Collector loses the section",
};

describe("omnishim validate", () => {
  it.each(verdicts)("judges as the Collector does: $name", async ({ name, yaml, valid }) => {
    const { code, stderr } = await command(["validate", `--config=yaml:${yaml}`], { B: "true", N: "5" });
    expect({ name, valid: code === 0, said: code === 0 ? "" : stderr }).toEqual({
      name,
      valid: name in differences ? !valid : valid,
      said: code === 0 ? "" : expect.stringMatching(/^Error: /),
    });
  });

  /** Wrong values are worded by the field; between components the Collector has one line for each. */
  it.each(verdicts.filter(({ error }) => error && !error.includes("decoding failed") && !error.includes("cannot")))(
    "prints the Collector's line: $name",
    async ({ name, yaml, error = "" }) => {
      const { stderr } = await command(["validate", `--config=yaml:${yaml}`], { B: "true", N: "5" });
      if (name in differences) return;
      const lines = stderr.split("\n").filter((line) => line.startsWith("Error: "));
      for (const wanted of error.split("\n")) {
        // The path here may go further down, and the text may say more.
        const [, path = "", text = wanted] = /^(\S+?)(?:::config)?: (.*)$/.exec(wanted) ?? [];
        expect(lines.filter((line) => line.startsWith(`Error: ${path}`) && line.includes(text))).toHaveLength(1);
      }
    },
  );
});
