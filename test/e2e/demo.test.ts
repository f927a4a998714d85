import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Exit, Program } from "../kit/process.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** The demo's blocks, by request id. */
function blocksOf(output: string): Map<string, string> {
  return new Map(
    output
      .split("\n\n")
      .filter((block) => block.includes("\n  trace "))
      .map((block) => [block.split(" ")[0] ?? "", `${block.trimEnd()}\n`]),
  );
}

/** A demo with a temporary folder of its own. */
class Demo {
  readonly temporary = mkdtempSync(join(tmpdir(), "omnishim-test-"));
  readonly program: Program;

  constructor(...args: string[]) {
    this.program = Program.cli(["demo", ...args], { env: { TMPDIR: this.temporary, LC_ALL: "C.UTF-8" } });
  }

  /** What it left behind. */
  get files(): string[] {
    return readdirSync(this.temporary);
  }

  async end(): Promise<void> {
    await this.program.stop();
    rmSync(this.temporary, { recursive: true, force: true });
  }
}

describe("omnishim demo, left alone", () => {
  let demo: Demo;
  let exit: Exit;
  let blocks: Map<string, string>;

  beforeAll(async () => {
    demo = new Demo();
    exit = await demo.program.exit(30_000);
    blocks = blocksOf(demo.program.output);
  }, 40_000);

  afterAll(() => demo.end());

  it("demo ends with code 0 by itself", () => {
    expect(exit).toEqual({ code: 0, signal: undefined });
  });

  it("demo shows every request of the capture in the order in which they came", () => {
    expect([...blocks.keys()]).toEqual([
      "243666c1-cc9c-48bf-84a2-f3ce79f0a677",
      "0fc3f05d-2daa-4789-bd8a-0990821c4184",
      "01c2d838-4db3-4535-a507-844783c148b0",
      "my-req_1.2",
      "cd61ad97-875f-41b5-973a-c4355d672378",
      "e537d9b3-42d5-405f-a2ad-f0306902008d",
      "3da2bf8a-b1b4-4411-99ca-dbc0a8d17c05",
      "3e5bc140-bcdb-45c3-88d1-af5f8ea04725",
    ]);
  });

  it("demo shows vLLM's spans under P running and D running when a request has them", () => {
    expect(blocks.get("e537d9b3-42d5-405f-a2ad-f0306902008d")).toMatch(
      /P running .*\n {2}│ {2}└─ llm_request · vllm-prefill .*\n(?:.*\n){2} {2}├─ D running .*\n {2}│ {2}└─ llm_request · vllm-decode /,
    );
    const two = blocks.get("01c2d838-4db3-4535-a507-844783c148b0") ?? "";
    expect(two.match(/llm_request · vllm-prefill/g)).toHaveLength(2);
    expect(two.match(/llm_request · vllm-decode/g)).toHaveLength(2);
  });

  it("demo keeps the client's trace id when it sent a traceparent", () => {
    expect(blocks.get("0fc3f05d-2daa-4789-bd8a-0990821c4184")).toContain("trace f39395de425b9abff9598e7bf2c3e1d5\n");
  });

  it("demo says what is missing when the client hung up, was refused or not sampled", () => {
    const hungUp = blocks.get("3da2bf8a-b1b4-4411-99ca-dbc0a8d17c05");
    expect(hungUp).toMatch(/ · client_disconnected · [\s\S]*no llm_request: under D running\n/);
    const refused = blocks.get("3e5bc140-bcdb-45c3-88d1-af5f8ea04725");
    expect(refused).toMatch(/ · rejected · POST \/v1\/chat\/completions · HTTP 404 · sequential\n/);
    const unsampled = blocks.get("cd61ad97-875f-41b5-973a-c4355d672378");
    expect(unsampled).toMatch(/ · ok · [\s\S]*no llm_request: under P running, D running\n/);
  });

  it("demo counts what was merged and says what to do next", () => {
    const { output } = demo.program;
    expect(output).toContain("requests  8: 6 ok, 1 client_disconnected, 1 rejected\n");
    expect(output).toContain("13 llm_request spans of vLLM merged, 0 unmerged\n");
    expect(output).toContain("complete  5: ");
    expect(output).toContain("--otlp-traces-endpoint http://HOST:4317\n");
  });

  it("demo writes plain lines when its output is no terminal, and leaves no file behind", () => {
    expect(demo.program.output).not.toMatch(/[\r\u001b]/);
    expect(demo.files).toEqual([]);
  });

  it("demo prints the waterfall that README.md shows", () => {
    const readme = readFileSync(join(root, "README.md"), "utf8");
    const shown = /<!-- demo:begin -->\n\n```text\n([\s\S]*?)```\n/.exec(readme)?.[1] ?? "";
    expect(shown).toBe(blocks.get(shown.split(" ")[0] ?? ""));
  });
});

describe("omnishim demo, disturbed", () => {
  let demo: Demo | undefined;

  afterEach(async () => {
    await demo?.end();
    demo = undefined;
  });

  it("demo stops and leaves no file behind when Ctrl-C comes during the replay", async () => {
    demo = new Demo();
    await demo.program.line(/listens on/);
    demo.program.signal("SIGINT");
    expect(await demo.program.exit(15_000)).toEqual({ code: 130, signal: undefined });
    expect(demo.program.output).toMatch(/interrupted/);
    expect(demo.program.output).not.toMatch(/at .*\.js:\d+/);
    expect(demo.files).toEqual([]);
  });

  it("demo names the port and what to do when --port is taken", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = server.address() as { port: number };
      demo = new Demo("--port", String(port));
      expect(await demo.program.exit(15_000)).toEqual({ code: 1, signal: undefined });
      expect(demo.program.output).toContain(`127.0.0.1:${port}`);
      expect(demo.program.output).toContain("address already in use");
      expect(demo.program.output).toContain("Without --port");
      expect(demo.files).toEqual([]);
    } finally {
      server.close();
    }
  });

  it("demo refuses a port that is none when --port says so", async () => {
    for (const port of ["70000", "x", "-1", "1.5"]) {
      demo = new Demo("--port", port);
      expect((await demo.program.exit(15_000)).code).toBe(1);
      expect(demo.program.output).toContain("0 to 65535");
      await demo.end();
    }
  });
});
