import { defineConfig } from "vitest/config";

/**
 * `npm run test:fuzz`: arbitrary input against everything that reads what others wrote. FUZZ_SECONDS (60) bounds it all together,
 * FUZZ_RUNS (none) is the number of inputs for each target where that is more, FUZZ_SEED repeats a run.
 */
export default defineConfig({
  test: {
    include: ["test/fuzz/**/*.test.ts"],
    pool: "forks",
    execArgv: ["--expose-gc"],
    testTimeout: 3_600_000,
    fileParallelism: false,
    disableConsoleIntercept: true,
  },
});
