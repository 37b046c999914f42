/** `weft playground`: a cluster on this machine. */
import { group } from "../../frame/command.ts";
import { downCommand } from "./down.ts";
import { statusCommand } from "./status.ts";
import { upCommand } from "./up.ts";

export const playgroundGroup = group({
  name: "playground",
  summary: "a cluster on this machine, in network namespaces of its own",
  commands: [upCommand, downCommand, statusCommand],
  examples: [
    ["sudo weft playground up", "Two nodes with the mesh, until Ctrl-C"],
    ["sudo weft playground down --all", "End and undo whatever is left"],
  ],
});
