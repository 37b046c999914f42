import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../cli/src/commands/index.ts";
import { parseCommandLine } from "../../cli/src/frame/parse.ts";
import { CODES } from "../../control/src/analysis/codes.ts";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

describe("docs/guides/migrate-from-istio.md", () => {
  const page = read("migrate-from-istio.md");

  it("has commands that there are, with flags that they have", () => {
    const lines = page.split("\n").flatMap((line) => /^ *(weft .+)$/.exec(line)?.slice(1) ?? []);
    expect(lines.length).toBeGreaterThan(10);
    for (const line of lines) {
      expect([line, parseCommandLine(COMMANDS, line.split(/\s+/).slice(1)).command.kind]).toEqual([line, "command"]);
    }
  });

  it("names codes and pages that there are", () => {
    for (const [code] of page.matchAll(/IST\d{4}/g)) expect(Object.keys(CODES)).toContain(code);
    for (const [, path = ""] of page.matchAll(/\]\(([^)#]+)\)/g)) expect(read(path)).not.toBe("");
  });
});
