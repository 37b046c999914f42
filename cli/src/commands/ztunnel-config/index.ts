/** `weft ztunnel-config`: what `weft workloads` and its siblings show, as users of istioctl type it. */
import { group } from "../../frame/command.ts";
import { connectionsCommand } from "../../mesh/connections-command.ts";
import { viewCommand } from "../../mesh/view-command.ts";
import { CERTIFICATES, POLICIES, SERVICES, WORKLOADS } from "../../mesh/views.ts";
import { allCommand } from "./all.ts";
import { agentLogCommand } from "./log.ts";

const parent = "weft ztunnel-config";

export const ztunnelConfigGroup = group({
  name: "ztunnel-config",
  aliases: ["zc"],
  summary: "what the agents know and do, as istioctl shows it (of ztunnels, too)",
  commands: [
    viewCommand(WORKLOADS, {
      parent,
      name: "workloads",
      aliases: ["workload", "w"],
      summary: "show the workloads that agents know",
      namespaceFlag: "workload-namespace",
    }),
    viewCommand(SERVICES, {
      parent,
      name: "services",
      aliases: ["service", "svc", "s"],
      summary: "show the services that agents know, with their endpoints",
      namespaceFlag: "service-namespace",
    }),
    viewCommand(POLICIES, {
      parent,
      name: "policies",
      aliases: ["policy", "p", "pol"],
      summary: "show the policies that agents enforce",
      namespaceFlag: "policy-namespace",
    }),
    viewCommand(CERTIFICATES, {
      parent,
      name: "certificates",
      aliases: ["certificate", "certs", "cert"],
      summary: "show the certificates that agents hold for their pods",
    }),
    connectionsCommand({
      parent,
      name: "connections",
      aliases: ["connection", "cons"],
      summary: "show open connections, live with --watch",
    }),
    allCommand,
    agentLogCommand,
  ],
  examples: [
    ["weft zc workloads --node node1", "What the agent of one node knows"],
    ["weft zc certs", "Whose certificates are held where, and until when"],
  ],
});
