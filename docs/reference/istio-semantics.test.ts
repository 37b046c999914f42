import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const PAGE = readFileSync(join(ROOT, "docs/reference/istio-semantics.md"), "utf8");
/** Those that nothing here can show yet. */
const WITHOUT_TEST = new Set([17]);

const rows = [...PAGE.matchAll(/^\| (\d+) \| .* \| (.+) \|$/gm)].map(([, number, tests = ""]) => ({
  number: Number(number),
  tests: [...tests.matchAll(/`([^`]+)` "((?:[^"\\]|\\.)+)"/g)].map(([, file = "", name = ""]) => ({
    file,
    name: name.replaceAll('\\"', '"'),
  })),
}));

describe("docs/reference/istio-semantics.md", () => {
  it("has all twenty-two, each with a test", () => {
    expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: 22 }, (_, i) => i + 1));
    const without = rows.filter(({ tests }) => tests.length === 0).map(({ number }) => number);
    expect(new Set(without)).toEqual(WITHOUT_TEST);
  });

  const named = rows.flatMap(({ number, tests }) => tests.map((test) => ({ number, ...test })));
  it.each(named)("$number: $file has $name", ({ file, name }) => {
    expect(readFileSync(join(ROOT, file), "utf8")).toContain(name);
  });
});
