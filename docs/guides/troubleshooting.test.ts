import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../cli/src/commands/index.ts";
import { parseCommandLine } from "../../cli/src/frame/parse.ts";
import { CODES } from "../../control/src/analysis/codes.ts";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

describe("docs/guides/troubleshooting.md", () => {
  const page = read("troubleshooting.md");

  it("has commands that there are, with flags that they have", () => {
    const lines = page.split("\n").filter((line) => line.startsWith("weft "));
    expect(lines.length).toBeGreaterThan(10);
    for (const line of lines) {
      expect([line, parseCommandLine(COMMANDS, line.split(/\s+/).slice(1)).command.kind]).toEqual([line, "command"]);
    }
  });

  it("names codes, files and reasons that there are", () => {
    for (const [code] of page.matchAll(/IST\d{4}/g)) expect(Object.keys(CODES)).toContain(code);
    for (const [, path = ""] of page.matchAll(/\]\(([^)#]+)\)/g)) expect(read(path)).not.toBe("");
    for (const [, path = ""] of page.matchAll(/ (examples\/\S+\.yaml)/g)) expect(read(`../../${path}`)).not.toBe("");
    const reasons = read("../reference/reasons.md");
    const table = page.slice(page.indexOf("| reason in"), page.indexOf("### Who denies"));
    const named = [...table.matchAll(/^\|[^|]*\|([^|]*)\|/gm)].flatMap(([, cell = ""]) => [
      ...cell.matchAll(/`(\w+)`/g),
    ]);
    expect(named.length).toBeGreaterThan(5);
    for (const [, reason] of named) expect(reasons).toContain(`| \`${reason}\` |`);
  });
});
