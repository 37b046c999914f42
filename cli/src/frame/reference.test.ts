import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../commands/index.ts";
import { referencePage } from "./reference.ts";

describe("docs/reference/cli.md", () => {
  it("says what the commands declare; node scripts/gen-cli-reference.ts writes it", () => {
    const page = readFileSync(new URL("../../../docs/reference/cli.md", import.meta.url), "utf8");
    expect(page).toBe(referencePage(COMMANDS));
  });
});
