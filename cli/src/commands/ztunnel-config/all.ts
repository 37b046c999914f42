/** `weft ztunnel-config all`: the whole dump of one agent. */
import { askAll } from "../../cluster/ask.ts";
import { agentPods } from "../../cluster/mesh-pods.ts";
import { command } from "../../frame/command.ts";
import { EXIT } from "../../frame/errors.ts";
import { AGENT_ARGUMENT, NODE_FLAG } from "../../mesh/view-command.ts";

export const allCommand = command({
  name: "all",
  summary: "print everything that agents say of themselves",
  cluster: true,
  output: ["json", "yaml"],
  args: [AGENT_ARGUMENT],
  flags: { node: NODE_FLAG },
  examples: [
    ["weft zc all --node node1", "The dump of one agent"],
    ["weft zc all -o yaml", "Of all of them, by pod"],
  ],
  run: async (context, { args, flags }) => {
    const pods = await agentPods(context, { node: flags.node, pod: args[0] });
    const { answers, failed } = await askAll(context, pods, (port) => port.json<object>("/config_dump"));
    const [first] = answers;
    // One agent's dump is what istioctl and its readers expect.
    if (pods.length === 1 && first !== undefined) context.print.data(first[1]);
    else context.print.data(Object.fromEntries(answers.map(([pod, dump]) => [pod.name, dump])));
    return failed === 0 ? EXIT.done : EXIT.failed;
  },
});
