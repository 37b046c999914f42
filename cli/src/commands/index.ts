/** The command tree: one line per command. */
import { group } from "../frame/command.ts";
import { completionCommand } from "./completion.ts";
import { playgroundGroup } from "./playground/index.ts";
import { versionCommand } from "./version.ts";

export const COMMANDS = group({
  name: "weft",
  summary: "a service mesh without sidecars",
  commands: [versionCommand, playgroundGroup, completionCommand],
});
