/** `weft proxy-config`: what a waypoint executes, as users of istioctl type it. */
import { group } from "../../frame/command.ts";
import { allCommand, bootstrapCommand } from "./all.ts";
import { clustersCommand } from "./clusters.ts";
import { endpointsCommand } from "./endpoints.ts";
import { listenersCommand } from "./listeners.ts";
import { waypointLogCommand } from "./log.ts";
import { routesCommand } from "./routes.ts";
import { secretsCommand } from "./secrets.ts";

export const proxyConfigGroup = group({
  name: "proxy-config",
  aliases: ["pc"],
  summary: "what a waypoint executes: listeners, routes, clusters, endpoints, secrets",
  commands: [
    listenersCommand,
    routesCommand,
    clustersCommand,
    endpointsCommand,
    secretsCommand,
    waypointLogCommand,
    bootstrapCommand,
    allCommand,
  ],
  examples: [["weft pc routes waypoint.shop", "Which routes are tried, in order"]],
});
