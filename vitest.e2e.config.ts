import { defineConfig } from "vitest/config";

/** `npm run test:e2e`: the built program as a child process. */
export default defineConfig({
  test: {
    include: ["test/e2e/**/*.test.ts"],
    globalSetup: "test/kit/build.ts",
    pool: "forks",
    // vitest's own default leaves one core idle, which on two cores is half of them.
    maxWorkers: "100%",
    maxConcurrency: 4,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
