import { fileURLToPath } from "node:url";
import { describe, expect, inject, it } from "vitest";
import { Program } from "../kit/process.ts";

const otelcol = inject("peers")["otelcol"]?.path;
const fixtures = fileURLToPath(new URL("../fixtures/config/migrate/", import.meta.url));

async function validate(name: string): Promise<{ code: number | undefined; output: string }> {
  const program = new Program(otelcol as string, ["validate", "--config", fixtures + name], {
    env: { JAEGER_HOST: "jaeger" },
  });
  try {
    const { code } = await program.exit();
    return { code, output: program.output };
  } finally {
    await program.stop();
  }
}

describe.skipIf(otelcol === undefined)("omnishim migrate", () => {
  it("migrate's result is valid for the newest Collector when the old file is not", async () => {
    expect((await validate("old.yml")).code).toBe(1);
    expect(await validate("new.yml")).toEqual({ code: 0, output: "" });
  });
});
