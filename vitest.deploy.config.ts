import { defineConfig } from "vitest/config";

/** `npm run test:deploy`: the image and the compose files under a real Docker engine; skipped, saying why, where there is none. */
export default defineConfig({
  test: {
    include: ["test/deploy/**/*.test.ts"],
    globalSetup: ["test/peers/setup.ts", "test/deploy/setup.ts"],
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
