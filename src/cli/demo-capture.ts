/** The bundled capture (demo/capture at the package's root) as steps that can be replayed. */
import { readAsset } from "../assets/assets.ts";

/** What happens next: lines appended to a log, or an OTLP request that vLLM sends. */
export type ReplayStep =
  | { readonly kind: "log"; readonly file: LogFile; readonly bytes: Buffer; readonly lines: number }
  | { readonly kind: "spans"; readonly bytes: Buffer };

/** Names of the log files, in the capture as in the replay. */
export const LOG_FILES = ["nginx_error.log", "nginx_access.log"] as const;
export type LogFile = (typeof LOG_FILES)[number];

/** One file of a capture, by its path in the capture's folder. @throws when it is not there */
export type CaptureReader = (path: string) => Buffer;

const bundled: CaptureReader = (path) => readAsset(`demo/capture/${path}`);

/** Lines appended in one step at most. */
const LINES_A_STEP = 8;

interface Event {
  readonly unixSeconds: number;
  readonly step: ReplayStep;
}

/** The steps in the order in which they really happened. @throws when a file is not there */
export function readCapture(read: CaptureReader = bundled): ReplayStep[] {
  const logs = LOG_FILES.map((file) => logEvents(file, read(file)));
  const meta = read("otlp/meta.jsonl").toString("utf8");
  const spans = meta
    .split("\n")
    .filter((line) => line !== "")
    .map((line): Event => {
      const { file, received_unix } = JSON.parse(line) as { file: string; received_unix: number };
      return { unixSeconds: received_unix, step: { kind: "spans", bytes: read(`otlp/${file}`) } };
    });
  // A stable sort: what happened in one second stays in the order of its file.
  return [...logs.flat(), ...spans].sort((a, b) => a.unixSeconds - b.unixSeconds).map(({ step }) => step);
}

/** A log cut into steps, each with the time of its first line. */
function logEvents(file: LogFile, log: Buffer): Event[] {
  const events: Event[] = [];
  for (let from = 0; from < log.length; ) {
    const unixSeconds = timeOf(log.subarray(from));
    let to = from;
    let lines = 0;
    while (to < log.length && lines < LINES_A_STEP && timeOf(log.subarray(to)) <= unixSeconds) {
      const feed = log.indexOf(10, to);
      to = feed < 0 ? log.length : feed + 1;
      lines++;
    }
    events.push({ unixSeconds, step: { kind: "log", file, bytes: log.subarray(from, to), lines } });
    from = to;
  }
  return events;
}

/** When the line at the start of `bytes` was written: nginx's prefix, which the capture has in UTC, or the access row's time. */
function timeOf(bytes: Buffer): number {
  const text = bytes.toString("latin1", 0, 40);
  const prefix = /^(\d{4})\/(\d\d)\/(\d\d) (\d\d:\d\d:\d\d) /.exec(text);
  if (prefix) return Date.parse(`${prefix[1]}-${prefix[2]}-${prefix[3]}T${prefix[4]}Z`) / 1000;
  return Number(/^\{time:"([\d.]+)"/.exec(text)?.[1] ?? Number.NaN);
}
