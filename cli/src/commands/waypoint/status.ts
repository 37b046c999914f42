/** `weft waypoint status` */
import { GATEWAYS } from "#lib/kube/types.ts";
import { command } from "../../frame/command.ts";
import { EXIT, Failure } from "../../frame/errors.ts";
import { isWaypoint } from "../../mesh/waypoint-manifest.ts";

export const statusCommand = command({
  name: "status",
  summary: "show the conditions of waypoints",
  cluster: true,
  output: ["table", "json", "yaml"],
  args: [{ name: "NAME", optional: true, about: "only of this one (default: all of the namespace)" }],
  exitCodes: [[EXIT.failed, "a condition is not True"]],
  examples: [
    ["weft waypoint status -n shop", "Whether they work, and why not"],
    ["weft waypoint status reviews -n shop -o json", "Of one, for a program"],
  ],
  run: async (context, { args: [only] }) => {
    const namespace = context.namespace();
    const { items } = await context.cluster().client.list(GATEWAYS, { namespace, signal: context.signal });
    const found = items.filter(isWaypoint).filter(({ metadata }) => only === undefined || metadata.name === only);
    if (only !== undefined && found.length === 0) {
      throw new Failure(`there is no waypoint "${only}" in namespace ${namespace}`, "weft waypoint list -A shows all");
    }
    const rows = found.flatMap(({ metadata, status }) =>
      (status?.conditions ?? []).map(({ type, status: value, reason = "", message = "" }) => ({
        namespace: metadata.namespace ?? "",
        name: metadata.name,
        type,
        status: value,
        reason,
        message,
      })),
    );
    const { paint, print } = context;
    print.rows(
      rows,
      [
        { title: "NAMESPACE", of: (row) => row.namespace },
        { title: "NAME", of: ({ name }) => name },
        { title: "CONDITION", of: ({ type }) => type },
        { title: "STATUS", of: ({ status }) => (status === "True" ? paint.good : paint.bad)(status) },
        { title: "REASON", of: ({ reason }) => reason },
        { title: "MESSAGE", of: ({ message }) => message },
      ],
      `no waypoints in ${namespace === undefined ? "any namespace" : `namespace ${namespace}`}`,
    );
    return rows.every(({ status }) => status === "True") ? EXIT.done : EXIT.failed;
  },
});
