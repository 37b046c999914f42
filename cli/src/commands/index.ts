/** The command tree: one line per command. */
import { group } from "../frame/command.ts";
import { analyzeCommand } from "./analyze.ts";
import { authzGroup } from "./authz/index.ts";
import { completionCommand } from "./completion.ts";
import { playgroundGroup } from "./playground/index.ts";
import { traceCommand } from "./trace.ts";
import { versionCommand } from "./version.ts";

export const COMMANDS = group({
  name: "weft",
  summary: "a service mesh without sidecars",
  commands: [versionCommand, analyzeCommand, authzGroup, traceCommand, playgroundGroup, completionCommand],
});
