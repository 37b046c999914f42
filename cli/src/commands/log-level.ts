/** `weft log-level` */
import { command } from "../frame/command.ts";
import { LOG_LEVEL_FLAGS, logLevels } from "../mesh/log-level.ts";
import { PARTS_ARGUMENT, podsOfPart } from "../mesh/parts.ts";

export const logLevelCommand = command({
  name: "log-level",
  summary: "show or set log levels of agents, control plane and waypoints",
  cluster: true,
  output: ["table", "json", "yaml"],
  args: [PARTS_ARGUMENT],
  flags: { ...LOG_LEVEL_FLAGS, node: { type: "string", value: "NODE", about: "only of pods of this node" } },
  examples: [
    ["weft log-level", "Of everything"],
    ["weft log-level agents --node node1 --level debug", "Hear more of one agent"],
    ["weft log-level control --reset", "As it was"],
  ],
  run: async (context, { args, flags }) => logLevels(context, await podsOfPart(context, args[0], flags.node), flags),
});
