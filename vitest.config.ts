import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/{contract,conformance,kit,property}/**/*.test.ts"],
    globalSetup: "test/kit/build.ts",
    pool: "forks",
    // vitest's own default leaves one core idle, which on two cores is half of them.
    maxWorkers: "100%",
    maxConcurrency: 4,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    restoreMocks: true,
  },
});
