import { defineConfig } from "vitest/config";

/** `npm run test:faults`: the built program under load, killed, starved and lied to. One file at a time, at most ten minutes. */
export default defineConfig({
  test: {
    include: ["test/faults/**/*.test.ts"],
    globalSetup: ["test/faults/report.ts"],
    pool: "forks",
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 60_000,
  },
});
