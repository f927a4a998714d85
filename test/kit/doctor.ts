/** The doctor on a configuration of a test, with the machine that the test wants. */
import { factories } from "../../src/components.ts";
import { processSurroundings } from "../../src/config/providers.ts";
import { resolveConfig } from "../../src/config/resolve.ts";
import { type Examination, examine, type Machine } from "../../src/doctor/examine.ts";
import { type Finding, needsAction } from "../../src/doctor/finding.ts";
import { nodeDisk } from "../../src/doctor/probes/host.ts";
import { findingOf } from "../../src/doctor/report.ts";
import { makePlan } from "../../src/kernel/plan.ts";
import { nodeFiles } from "../../src/receivers/omniproxylog/files.ts";

/** What differs from a machine that is well. */
export interface DoctorOptions extends Partial<Pick<Examination, "vllm" | "queryUrl" | "hasTrace" | "timeoutMs">> {
  readonly machine?: Partial<Machine>;
}

/** Every finding on the file `otel.yml` with this text. No Jaeger of the machine that the test runs on is seen. */
export async function doctor(yaml: string, options: DoctorOptions = {}): Promise<Finding[]> {
  const { machine, ...rest } = options;
  const source = { name: "otel.yml", text: yaml };
  const { root, problems } = await resolveConfig({ configs: [source], sets: [] }, { ...processSurroundings, env: {} });
  const made = makePlan(root, factories);
  const [problem] = [...problems, ...made.problems];
  if (!made.plan)
    throw new Error(`the test's configuration is wrong: ${problem?.path.join("::")}: ${problem?.message}`);
  const drafts = await examine(
    {
      plan: made.plan,
      root,
      build: { command: "omnishim", description: "test", version: "0" },
      oldestNode: "20.19",
      vllm: [],
      queryUrl: "",
      timeoutMs: 2000,
      lastRequests: 100,
      folder: process.cwd(),
      hasTrace: async () => false,
      ...rest,
    },
    { files: nodeFiles, disk: nodeDisk, proc: "/proc", jaegerPorts: [], ...machine },
  );
  return drafts.map((draft) => findingOf(draft, root));
}

/** What has to be done, as "check line N". */
export function actions(findings: readonly Finding[]): string[] {
  return findings.filter(needsAction).map(({ check, place }) => (place ? `${check} line ${place.line}` : check));
}
