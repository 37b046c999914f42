/**
 * Sums the JSON results that the test runs left in a folder (vitest's and GoogleTest's formats) and ends with one line
 * `N passed, N failed`. Exits 1 when a test failed, was skipped, or when a run left nothing.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

function count(result: unknown): Counts {
  if (typeof result !== "object" || result === null) throw new TypeError("a result file holds no object");
  const field = (name: string): number => Number((result as Record<string, unknown>)[name] ?? 0);
  if ("numTotalTests" in result) {
    return {
      passed: field("numPassedTests"),
      // A file that cannot be loaded has no tests to fail: count it by itself.
      failed: field("numFailedTests") + (field("numFailedTests") === 0 ? field("numFailedTestSuites") : 0),
      skipped: field("numPendingTests") + field("numTodoTests"),
    };
  }
  const bad = field("failures") + field("errors");
  return { passed: field("tests") - bad - field("disabled"), failed: bad, skipped: field("disabled") };
}

const folder = process.argv[2] ?? "build/test";
const expected = process.argv.slice(3);
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
const seen = new Set<string>();
for (const file of readdirSync(folder)) {
  if (!file.endsWith(".json")) continue;
  seen.add(file.slice(0, -".json".length));
  const counts = count(JSON.parse(readFileSync(join(folder, file), "utf8")));
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
}
const missing = expected.filter((name) => !seen.has(name));
for (const name of missing) process.stdout.write(`no result of ${name}\n`);
if (total.skipped > 0) process.stdout.write(`${total.skipped} skipped: a test that cannot run here must fail\n`);
const failed = total.failed + missing.length + total.skipped;
process.stdout.write(`${total.passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 || total.passed === 0 ? 1 : 0;
