/** `weft playground up` */

import { checkName } from "../../../../playground/src/state.ts";
import { command } from "../../frame/command.ts";
import { DEFAULT_NAME, NAME_FLAG, needRoot, wholeNumber } from "./names.ts";

export const upCommand = command({
  name: "up",
  summary: "start a cluster on this machine, with the mesh in it",
  description: "Everything is in namespaces of its own and undone at the end. Needs root.",
  flags: {
    name: NAME_FLAG,
    nodes: { type: "string", value: "N", about: "number of nodes (default: 2)" },
    "api-port": { type: "string", value: "PORT", about: "port of the API on 127.0.0.1 (default: any free one)" },
    "no-mesh": { type: "boolean", about: "only the cluster, without control plane and agents" },
  },
  examples: [
    ["sudo weft playground up", "Two nodes with the mesh in them"],
    ["sudo weft playground up --name bare --nodes 3 --no-mesh", "Three nodes and nothing else"],
  ],
  run: async (context, { flags }) => {
    const name = flags.name ?? DEFAULT_NAME;
    checkName(name);
    const nodes = wholeNumber("--nodes", flags.nodes ?? "2");
    const apiPort = wholeNumber("--api-port", flags["api-port"] ?? "0");
    needRoot("up");
    // Loaded only here: it is large, and other commands do without it.
    const { up } = await import("./live.ts");
    return up(context, { name, nodes, apiPort, hasMesh: !flags["no-mesh"] });
  },
});
