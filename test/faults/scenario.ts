import { expect } from "vitest";
import { seededRandom } from "../kit/fault-plan.ts";
import { OtlpSink } from "../kit/otlp-sink.ts";
import { Census, SPANS_A_LOGGED_REQUEST } from "./census.ts";
import { Load, type LoadOptions } from "./load.ts";
import { type LoggedRequest, ProxyLog } from "./proxy-log.ts";
import { type FaultFigures, recordFigures } from "./report.ts";
import { engineSpan } from "./sent-spans.ts";
import { Victim, type VictimPlaces } from "./victim.ts";

/** The same numbers in every run. */
const SEED = 20261124;
/** Once the fault is over, what has not come is lost when nothing came for so long. */
const STILL_MS = 15_000;

/** Resolves after `ms`. Scenarios are made of moments at which something happens under load; nothing is waited for so. */
export const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What a scenario works with while the load runs. */
export interface Stage {
  readonly victim: Victim;
  readonly load: Load;
  /** Only with `log: true`. */
  readonly log: ProxyLog;
  readonly census: Census;
  readonly random: () => number;
  /** Where the program sends to; a scenario that exchanges it puts the new one here. */
  sink: OtlpSink;
}

/** Writes a configuration for these places. */
type Configuration = (places: VictimPlaces) => string;

/** What a scenario is made of. */
export interface ScenarioOptions {
  /** The row's name in the table, asked for at the end. */
  readonly fault: string | (() => string);
  /** Given the backend's address. */
  config(endpoint: string): Configuration | Promise<Configuration>;
  /** Whether Omni Proxy's log is written too, with vLLM's spans of its requests. */
  readonly log?: boolean;
  readonly load?: LoadOptions;
  /** Where file_storage is. */
  readonly storage?: string;
  readonly command?: (config: string) => readonly [string, ...string[]];
  /** What happens under load. When it resolves the load ends; the fault must be over then, ... */
  disturb(stage: Stage): Promise<void>;
  /** ... or is ended by this, when the load has. */
  recover?(stage: Stage): Promise<void>;
  /** Numbers of acknowledged spans that must not arrive, because the backend refused them for good and it was said so. */
  refusedForGood?(): ReadonlySet<number>;
  /** When everything has come, or will not. */
  finished?(stage: Stage): Promise<void>;
  /** For scenarios that lose: after how much silence of the backend the rest is lost. Default 15 s. */
  readonly stillMs?: number;
}

/** What came of it. */
export interface Outcome extends FaultFigures {
  /** Of the sent spans: what refusals said, and how often, for each sender. */
  readonly reasons: readonly ReadonlyMap<string, number>[];
  /** What is lost, unequal or wrong, in words. */
  readonly problems: readonly string[];
  /** Of vLLM's spans at the sink, how many are not where they belong in their request's trace. */
  readonly misplaced: number;
  /** vLLM's spans that were sent. */
  readonly engineSpans: number;
  /** What the program printed in all its runs. */
  readonly output: string;
}

/** Starts everything, disturbs it under load, waits until all has come or it is clear that it will not, and counts. */
export async function runScenario(options: ScenarioOptions): Promise<Outcome> {
  const random = seededRandom(SEED);
  const sink = await OtlpSink.start();
  const victim = await Victim.create(await options.config(sink.address), options);
  const engine = new Map<number, { request: LoggedRequest; role: "prefill" | "decode" }>();
  const census = new Census();
  let load: Load | undefined;
  let log: ProxyLog | undefined;
  const began = performance.now();
  const stage = { victim, census, random, sink } as Stage & { load: Load; log: ProxyLog };
  const taking = setInterval(() => census.take(stage.sink), 100);
  try {
    await victim.start();
    if (options.log) {
      log = new ProxyLog(victim.places.log, random, (request) => {
        for (const role of ["prefill", "decode"] as const) {
          const number = stage.load.nextNumber();
          engine.set(number, { request, role });
          stage.load.sendSoon(role === "prefill" ? "grpc" : "http", engineSpan(number, role, request));
        }
      });
      stage.log = log;
    }
    load = new Load(victim.places, options.load);
    stage.load = load;
    await options.disturb(stage);
    await log?.finish();
    await load.stop();
    await options.recover?.(stage);
    const requests = log?.ended ?? [];
    const refused = options.refusedForGood ?? (() => new Set<number>());
    const missing = (): number[] => {
      const forGood = refused();
      return census.missing(stage.load.acknowledged).filter((number) => !forGood.has(number));
    };
    const isComplete = (): boolean => {
      census.take(stage.sink);
      return missing().length === 0 && census.missingStates(requests).length === 0;
    };
    for (let seen = -1, since = performance.now(); !isComplete(); await pass(50)) {
      if (stage.sink.seen !== seen) since = performance.now();
      seen = stage.sink.seen;
      if (performance.now() - since > (options.stillMs ?? STILL_MS)) break;
    }
    await options.finished?.(stage);
    const states = census.missingStates(requests);
    const wrong = census.wrongStates(requests);
    const outcome: Outcome = {
      fault: typeof options.fault === "string" ? options.fault : options.fault(),
      ...load.figures,
      logged: requests.length * SPANS_A_LOGGED_REQUEST,
      forGood: refused().size,
      atSink: census.atSink,
      duplicates: census.duplicates,
      unequal: census.unequal + wrong.length,
      lost: missing().length + states.length,
      seconds: (performance.now() - began) / 1000,
      reasons: load.reasons,
      problems: [
        ...missing()
          .slice(0, 20)
          .map((number) => `span ${number} is lost`),
        ...states.slice(0, 40),
        ...census.problems,
        ...wrong.slice(0, 40),
      ],
      misplaced: census.misplaced(engine),
      engineSpans: engine.size,
      output: victim.output,
    };
    recordFigures(outcome);
    return outcome;
  } finally {
    clearInterval(taking);
    log?.close();
    await victim.remove();
    await load?.stop();
    await stage.sink.close();
  }
}

/** Everything that was acknowledged, and everything that the log told of, is at the sink, as it was sent. */
export function expectNothingLost(outcome: Outcome, atLeastAcknowledged: number): void {
  const { lost, unequal, problems } = outcome;
  expect({ lost, unequal, problems }).toEqual({ lost: 0, unequal: 0, problems: [] });
  expect(outcome.acknowledged).toBeGreaterThan(atLeastAcknowledged);
}
