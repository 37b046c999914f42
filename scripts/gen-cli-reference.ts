/** Writes docs/reference/cli.md from the command tree. `--check` fails when the page is stale. */
import { readFileSync, writeFileSync } from "node:fs";
import { COMMANDS } from "../cli/src/commands/index.ts";
import { referencePage } from "../cli/src/frame/reference.ts";

const target = new URL("../docs/reference/cli.md", import.meta.url);
const text = referencePage(COMMANDS);
if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== text) {
    throw new Error("docs/reference/cli.md is stale; run: node scripts/gen-cli-reference.ts");
  }
} else {
  writeFileSync(target, text);
}
