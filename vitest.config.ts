import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/{contract,conformance,e2e,kit,property}/**/*.test.ts"],
    globalSetup: "test/kit/build.ts",
    pool: "forks",
    maxConcurrency: 4,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    restoreMocks: true,
  },
});
