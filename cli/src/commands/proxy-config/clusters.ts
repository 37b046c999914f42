/** `weft proxy-config clusters` */
import { command } from "../../frame/command.ts";
import { chosenWaypoint, programOf, WAYPOINT_ARGUMENT } from "../../mesh/program.ts";

export const clustersCommand = command({
  name: "clusters",
  aliases: ["cluster", "c"],
  summary: "show where a waypoint can send requests",
  cluster: true,
  output: ["table", "wide", "json", "yaml"],
  args: [WAYPOINT_ARGUMENT],
  flags: {
    fqdn: { type: "string", value: "HOST", about: "only of this service" },
    port: { type: "string", value: "PORT", about: "only of this port" },
    subset: { type: "string", value: "NAME", about: "only of this subset" },
  },
  examples: [
    ["weft pc clusters -n shop", "Of the namespace's waypoint"],
    [
      "weft pc clusters waypoint.shop --fqdn reviews.shop.svc.cluster.local -o wide",
      "Of one service, with its settings",
    ],
  ],
  run: async (context, { args, flags }) => {
    const { Cluster = [] } = await programOf(context, await chosenWaypoint(context, args[0]));
    const wanted = Cluster.filter(
      ({ resource: { serviceHostname, port, subset } }) =>
        (flags.fqdn === undefined || serviceHostname === flags.fqdn) &&
        (flags.port === undefined || String(port) === flags.port) &&
        (flags.subset === undefined || subset === flags.subset),
    );
    if (context.print.isData) context.print.data(wanted.map(({ resource }) => resource));
    else
      context.print.rows(
        wanted,
        [
          { title: "SERVICE FQDN", of: ({ name, resource }) => resource.serviceHostname ?? name },
          { title: "PORT", of: ({ resource: { port } }) => port },
          { title: "SUBSET", of: ({ resource: { subset } }) => subset },
          { title: "DIRECTION", of: () => "outbound" },
          { title: "TYPE", of: ({ resource: { discovery } }) => discovery ?? "EDS" },
          { title: "BALANCER", of: ({ resource: { loadBalancer } }) => loadBalancer?.algorithm, wide: true },
          { title: "TLS", of: ({ resource: { tls } }) => tls?.mode, wide: true },
          { title: "NAME", of: ({ name }) => name, wide: true },
        ],
        "it can send requests nowhere",
      );
    return undefined;
  },
});
