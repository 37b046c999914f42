/** `weft ztunnel-config log` */
import { agentPods } from "../../cluster/mesh-pods.ts";
import { command } from "../../frame/command.ts";
import { LOG_LEVEL_FLAGS, logLevels } from "../../mesh/log-level.ts";
import { AGENT_ARGUMENT, NODE_FLAG } from "../../mesh/view-command.ts";

export const agentLogCommand = command({
  name: "log",
  aliases: ["l"],
  summary: "show or set the log levels of agents",
  cluster: true,
  output: ["table", "json", "yaml"],
  args: [AGENT_ARGUMENT],
  flags: { node: NODE_FLAG, ...LOG_LEVEL_FLAGS },
  examples: [
    ["weft zc log", "Of all agents"],
    ["weft zc log --node node1 --level info,access=debug", "More of one scope, on one node"],
  ],
  run: async (context, { args, flags }) => {
    return logLevels(context, await agentPods(context, { node: flags.node, pod: args[0] }), flags);
  },
});
