import { describe, expect, it } from "vitest";
import { demo } from "./demo.ts";
import { CommandError, type Edge, StopSignal } from "./edge.ts";

/** An edge whose output is kept, on a terminal of 90 columns. */
function terminalEdge(stop: AbortSignal, env: Edge["env"] = {}): { edge: Edge; text: () => string } {
  let text = "";
  const stdout = { isTTY: true, columns: 90, write: (part: string) => (text += part) };
  return { edge: { env, stdout, stderr: { write: () => undefined }, stop }, text: () => text };
}

describe("demo", () => {
  it("demo rewrites one line while it replays and uses colours when its output is a terminal", async () => {
    const { edge, text } = terminalEdge(new AbortController().signal);
    expect(await demo({ port: "0" }, edge)).toBe(0);
    const progress = text()
      .split("\n")
      .filter((line) => line.startsWith("\rreplayed "));
    expect(progress).toHaveLength(1);
    expect(progress[0]).toMatch(
      /^\rreplayed 8 of (\d+) log lines, 0 of 5 [\s\S]*\rreplayed \1 of \1 log lines, 5 of 5 OTLP requests/,
    );
    expect(text()).toContain("\u001b[1mmy-req_1.2\u001b[0m · \u001b[32mok\u001b[0m");
    const longest = Math.max(
      ...text()
        .replaceAll(/\u001b\[\d+m/g, "")
        .split("\n")
        .slice(3, -12)
        .map((line) => line.length),
    );
    expect(longest).toBe(90);
  });

  it("demo uses no colour when NO_COLOR is set", async () => {
    const { edge, text } = terminalEdge(new AbortController().signal, { NO_COLOR: "1" });
    expect(await demo({ port: "0" }, edge)).toBe(0);
    expect(text()).not.toContain("\u001b");
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ])("demo gives the shell's code for it when %s comes", async (name, code) => {
    const { edge, text } = terminalEdge(AbortSignal.abort(new StopSignal(name)));
    expect(await demo({ port: "0" }, edge)).toBe(code);
    expect(text()).toContain("interrupted");
    expect(text()).not.toContain("Next\n");
  });

  it("demo passes on what it did not expect when the program has a fault", async () => {
    const { edge } = terminalEdge(AbortSignal.abort(new Error("not a signal")));
    await expect(demo({ port: "0" }, edge)).rejects.toThrow("not a signal");
  });

  it.each(["", "65536", "4317a", " 1"])("demo refuses %j when it is given as port", async (port) => {
    const { edge } = terminalEdge(new AbortController().signal);
    await expect(demo({ port }, edge)).rejects.toThrow(CommandError);
  });
});
