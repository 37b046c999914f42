/** `weft workloads|services|policies|certs|connections`: what the agents of the mesh know and do. */
import { connectionsCommand } from "../mesh/connections-command.ts";
import { viewCommand } from "../mesh/view-command.ts";
import { CERTIFICATES, POLICIES, SERVICES, WORKLOADS } from "../mesh/views.ts";

const parent = "weft";

export const observeCommands = [
  viewCommand(WORKLOADS, { parent, name: "workloads", summary: "show the workloads that agents know" }),
  viewCommand(SERVICES, {
    parent,
    name: "services",
    summary: "show the services that agents know, with their endpoints",
  }),
  viewCommand(POLICIES, { parent, name: "policies", summary: "show the policies that agents enforce" }),
  viewCommand(CERTIFICATES, {
    parent,
    name: "certs",
    aliases: ["certificates"],
    summary: "show the certificates that agents hold for their pods",
  }),
  connectionsCommand({ parent, name: "connections", summary: "show open connections, live with --watch" }),
];
