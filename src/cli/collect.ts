import { type Command, InvalidArgumentError } from "commander";
import type { CollectProgress } from "../offline/collect/collect.ts";
import { EXIT } from "../offline/problem.ts";
import type { Edge } from "./edge.ts";
import { offline, wholeNumber } from "./offline.ts";

interface Options {
  readonly identity?: string;
  readonly user?: string;
  readonly port?: number;
  readonly jump?: string;
  readonly sshConfig?: string;
  readonly jobs: number;
  readonly since?: string;
  readonly connectTimeout: number;
  readonly stallTimeout: number;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** Between two looks of the progress line. */
const REDRAW_MS = 200;

const HELP = `
SERVER_LIST has [user@]host or [user@]host:port a line; # begins a remark. TARGET gets, of each host,
  logs_HOST/              everything below TRACE_OUTPUT_DIRECTORY
  nginx_HOST.log          Omni Proxy's error log, and nginx_access_HOST.log, its access log; rotated ones too
  collect_HOST.json       what was collected, and the host's clock as chrony has it, for convert, stats and explain
Host keys are checked as ssh is configured; nothing is asked for. A further run fetches what is new or missing.

Exit codes:
  ${EXIT.ok}  all hosts well
  ${EXIT.failed}  a host failed (the others were collected), or the command line makes no sense
  130, 143  interrupted (SIGINT, SIGTERM); run it again to go on`;

/** `omnishim collect SERVER_LIST TRACE_OUTPUT_DIRECTORY LOG_PATH TARGET`: see docs/collect.md. */
export function addCollect(program: Command, edge: Edge, setCode: (code: number) => void): void {
  program
    .command("collect")
    .summary("fetch the logs and clock offsets of many hosts by ssh")
    .description("Fetches Omni Proxy's and vLLM's logs from many hosts by the system's ssh, ready for convert.")
    .argument("<server-list>", "file with the hosts")
    .argument("<trace-output-directory>", "folder of vLLM's omnilogger files at the hosts")
    .argument("<log-path>", "Omni Proxy's error log at the hosts, or its folder")
    .argument("<target>", "folder that gets everything; made where it is not there")
    .option("--identity <file>", "private key; default: what ssh and its agent have")
    .option("--user <name>", "log in as; a user in the list wins (default: as ssh is configured)")
    .option("--port <n>", "port of ssh; a port in the list wins (default: as ssh is configured)", port)
    .option("--jump <host>", "go through this host, [user@]host[:port]; several with commas between")
    .option("--ssh-config <file>", "in place of ~/.ssh/config")
    .option("--jobs <n>", "hosts at once", wholeNumber(1), 8)
    .option("--since <time>", 'only files written to since: "2026-11-22 04:30", unix seconds, or 15m (ago)')
    .option("--connect-timeout <seconds>", "a connection is up within", wholeNumber(1), 10)
    .option("--stall-timeout <seconds>", "a host that says nothing for so long has failed", wholeNumber(1), 60)
    .option("--dry-run", "connect and look, fetch and write nothing", false)
    .option("--json", "print the report as JSON", false)
    .addHelpText("after", HELP)
    .action(async (servers: string, traces: string, log: string, target: string, options: Options) =>
      setCode(await offline(edge, () => run({ servers, traces, log, target }, options, edge), INTERRUPTED)),
    );
}

const INTERRUPTED = "Interrupted: what has come is kept; run it again to go on";

async function run(
  paths: { servers: string; traces: string; log: string; target: string },
  options: Options,
  edge: Edge,
): Promise<number> {
  const [{ collect }, { describeCollection }, { parseWhen }] = await Promise.all([
    import("../offline/collect/collect.ts"),
    import("../offline/collect/text.ts"),
    import("../offline/when.ts"),
  ]);
  const report = await collect(
    {
      ...paths,
      ssh: {
        user: options.user,
        port: options.port,
        identity: options.identity,
        jump: options.jump,
        configFile: options.sshConfig,
        connectTimeoutMs: options.connectTimeout * 1000,
      },
      jobs: options.jobs,
      stallTimeoutMs: options.stallTimeout * 1000,
      sinceMs: options.since === undefined ? undefined : parseWhen(options.since, Date.now(), "--since"),
      dryRun: options.dryRun,
    },
    progressOf(edge),
    edge.stop,
  );
  edge.stdout.write(`${options.json ? JSON.stringify(report, undefined, 2) : describeCollection(report)}\n`);
  return report.failed > 0 ? EXIT.failed : EXIT.ok;
}

function progressOf({ stderr }: Edge): CollectProgress {
  if (stderr.isTTY !== true) return { show: () => undefined, clear: () => undefined };
  let drawnMs = Number.NEGATIVE_INFINITY;
  return {
    show(done, hosts, bytes, expected) {
      const nowMs = performance.now();
      if (nowMs - drawnMs < REDRAW_MS) return;
      drawnMs = nowMs;
      const megabytes = (count: number): string => (count / 1e6).toFixed(1);
      stderr.write(`\r${done} of ${hosts} hosts, ${megabytes(bytes)} of ${megabytes(expected)} MB\u001b[K`);
    },
    clear() {
      if (drawnMs > Number.NEGATIVE_INFINITY) stderr.write("\r\u001b[K");
    },
  };
}

function port(text: string): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > 65_535) throw new InvalidArgumentError("Write a number from 1 to 65535.");
  return value;
}
