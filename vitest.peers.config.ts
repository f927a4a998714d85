import { defineConfig } from "vitest/config";

/** `npm run test:peers`: real Collector, Jaeger, SDKs. One file at a time: each starts several processes. */
export default defineConfig({
  test: {
    include: ["test/peers/**/*.test.ts"],
    globalSetup: ["test/peers/setup.ts"],
    pool: "forks",
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
