/** `weft waypoint list` */
import { GATEWAYS } from "#lib/kube/types.ts";
import { command } from "../../frame/command.ts";
import { isWaypoint, waypointRow } from "../../mesh/waypoint-manifest.ts";

export const listCommand = command({
  name: "list",
  aliases: ["ls"],
  summary: "list waypoints of a namespace, or of all of them with -A",
  cluster: true,
  output: ["table", "wide", "json", "yaml"],
  examples: [
    ["weft waypoint list -A", "Everywhere"],
    ["weft waypoint list -n shop -o wide", "With addresses"],
  ],
  run: async (context) => {
    const namespace = context.namespace();
    const { items } = await context.cluster().client.list(GATEWAYS, { namespace, signal: context.signal });
    const rows = items.filter(isWaypoint).map(waypointRow);
    const { paint, print } = context;
    print.rows(
      rows,
      [
        ...(namespace === undefined ? [{ title: "NAMESPACE", of: (row: (typeof rows)[number]) => row.namespace }] : []),
        { title: "NAME", of: ({ name }) => name },
        { title: "REVISION", of: ({ revision }) => revision },
        { title: "TRAFFIC TYPE", of: ({ trafficType }) => trafficType },
        { title: "PROGRAMMED", of: ({ programmed }) => (programmed === "True" ? paint.good : paint.bad)(programmed) },
        { title: "ADDRESSES", of: ({ addresses }) => addresses.join(","), wide: true },
      ],
      namespace === undefined ? "no waypoints anywhere" : `no waypoints in namespace ${namespace}`,
    );
    return undefined;
  },
});
