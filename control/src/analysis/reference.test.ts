import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { analysisPage } from "./reference.ts";

it("docs/reference/analysis.md says what the code does; node scripts/gen-analysis-reference.ts writes it", () => {
  const page = readFileSync(new URL("../../../docs/reference/analysis.md", import.meta.url), "utf8");
  expect(page).toBe(analysisPage());
});
