/** A headless Chromium, spoken to through two pipes in Chrome's DevTools protocol; nothing else is needed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { Readable, Writable } from "node:stream";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
/** It asks nobody anything by itself. */
const SWITCHES = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"],
  ...["--hide-scrollbars", "--force-device-scale-factor=1", "--remote-debugging-pipe"],
];

/** Where Chromium is (CHROMIUM, or in PATH); undefined when there is none. */
export function findChromium(): string | undefined {
  const named = process.env["CHROMIUM"];
  if (named !== undefined) return existsSync(named) ? named : undefined;
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find((path) => existsSync(path));
}

interface Answer {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
  readonly sessionId?: string;
}

/** One page in a browser of its own. Call `close` when it is done. */
export class BrowserPage {
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly #listeners = new Map<string, (() => void)[]>();
  #session: string | undefined;
  #next = 1;
  /** URLs that were asked for, the page's own first. */
  readonly requests: string[] = [];
  /** What the console and the policy complained of. */
  readonly complaints: string[] = [];

  private constructor(executable: string) {
    this.#profile = mkdtempSync(join(tmpdir(), "omnishim-chromium-"));
    this.#process = spawn(executable, [...SWITCHES, `--user-data-dir=${this.#profile}`, "about:blank"], {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    });
    let held = "";
    (this.#process.stdio[4] as Readable).setEncoding("utf8").on("data", (chunk: string) => {
      const messages = (held + chunk).split("\0");
      held = messages.pop() ?? "";
      for (const message of messages) this.#take(JSON.parse(message) as Answer);
    });
  }

  /** Starts Chromium with an empty profile. */
  static async open(executable: string): Promise<BrowserPage> {
    const page = new BrowserPage(executable);
    const { targetId } = await page.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await page.send("Target.attachToTarget", { targetId, flatten: true });
    page.#session = sessionId as string;
    for (const domain of ["Page", "Runtime", "Network", "Log", "Audits"]) await page.send(`${domain}.enable`);
    return page;
  }

  /** One command of the protocol. */
  async send(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const id = this.#next++;
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    const message = { id, method, params, ...(this.#session === undefined ? {} : { sessionId: this.#session }) };
    (this.#process.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`);
    const { result, error } = await answered;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  /** Opens a URL and waits until it is loaded. */
  async goto(url: string): Promise<void> {
    const loaded = new Promise<void>((resolve) => {
      const list = this.#listeners.get("Page.loadEventFired") ?? [];
      this.#listeners.set("Page.loadEventFired", [...list, resolve]);
    });
    await this.send("Page.navigate", { url });
    await loaded;
  }

  /** The value of an expression, evaluated in the page. */
  async value<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, returnByValue: true });
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value: T }).value;
  }

  /** Window size, and whether the reader wants it dark. */
  async look(width: number, height: number, scheme: "light" | "dark"): Promise<void> {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  }

  /** A PNG of the whole page. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.send("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
    return Buffer.from(data as string, "base64");
  }

  /** Presses a key: Tab, Enter, " ", … */
  async press(key: "Tab" | "Enter" | "ArrowRight"): Promise<void> {
    const code = { Tab: 9, Enter: 13, ArrowRight: 39 }[key];
    const event = { key, code: key, windowsVirtualKeyCode: code, ...(key === "Enter" ? { text: "\r" } : {}) };
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", ...event });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...event });
  }

  async close(): Promise<void> {
    const ended = once(this.#process, "exit");
    (this.#process.stdio[3] as Writable).write(`${JSON.stringify({ id: this.#next++, method: "Browser.close" })}\0`);
    await ended;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #take(answer: Answer): void {
    if (answer.id !== undefined) {
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
      return;
    }
    const { method = "", params = {} } = answer;
    for (const listener of this.#listeners.get(method) ?? []) listener();
    if (method === "Page.loadEventFired") this.#listeners.delete(method);
    if (method === "Network.requestWillBeSent")
      this.requests.push((params as { request: { url: string } }).request.url);
    if (["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded"].includes(method))
      this.complaints.push(JSON.stringify(params));
  }
}
