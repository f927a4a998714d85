import { afterEach, describe, expect, it } from "vitest";
import { freePorts, Program } from "./process.ts";

const running: Program[] = [];
afterEach(async () => {
  for (const program of running.splice(0)) await program.stop("SIGKILL");
});

function node(script: string): Program {
  const program = new Program(process.execPath, ["-e", script]);
  running.push(program);
  return program;
}

describe("Program", () => {
  it("finds a line in the output, and gives the exit code when stopped", async () => {
    const program = node(
      `process.on("SIGTERM", () => process.exit(3)); setInterval(() => {}, 1000); console.log("port 123")`,
    );
    expect((await program.line(/port (\d+)/))[1]).toBe("123");
    expect(await program.stop()).toEqual({ code: 3, signal: undefined });
    expect(await program.stop()).toEqual({ code: 3, signal: undefined });
  });

  it("says how the program ended, with its output, when it ends before the line", async () => {
    const program = node(`console.error("no luck"); process.exitCode = 1`);
    await expect(program.line(/never/)).rejects.toThrow(/ended \(1\) before[\s\S]*no luck/);
  });

  it("names the program when it cannot be started", async () => {
    const program = new Program("/nonexistent/program", []);
    await expect(program.line(/never/)).rejects.toThrow(/nonexistent.*ENOENT/);
  });

  it("kills when the program does not stop in time", async () => {
    const program = node(`process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log("up")`);
    await program.line(/up/);
    expect(await program.stop("SIGTERM", 100)).toEqual({ code: undefined, signal: "SIGKILL" });
  });
});

describe("freePorts", () => {
  it("gives as many different ports as asked", async () => {
    const ports = await freePorts(5);
    expect(new Set(ports).size).toBe(5);
  });
});
