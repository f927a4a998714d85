import { defineConfig } from "vitest/config";

/** What takes minutes, or needs V8's own switches: `npm run test:slow`. */
export default defineConfig({
  test: {
    include: ["test/slow/**/*.test.ts"],
    pool: "forks",
    execArgv: ["--expose-gc"],
    testTimeout: 600_000,
    fileParallelism: false,
  },
});
