#!/usr/bin/env node
// The closing line of .ci/run: adds up the vitest JSON reports in a folder. Exit code 1 when there is none or no test ran.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const folder = process.argv[2];
const reports = readdirSync(folder).filter((file) => file.endsWith(".json"));
let passed = 0;
let failed = 0;
let skipped = 0;
for (const file of reports) {
  const report = JSON.parse(readFileSync(join(folder, file), "utf8"));
  passed += report.numPassedTests;
  // A file that could not be loaded has no test that failed, but it did.
  const broken = report.testResults.filter(
    (result) => result.status === "failed" && !result.assertionResults.some((test) => test.status === "failed"),
  ).length;
  failed += report.numFailedTests + broken;
  skipped += report.numPendingTests + report.numTodoTests;
}
if (passed + failed === 0) process.exitCode = 1;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
