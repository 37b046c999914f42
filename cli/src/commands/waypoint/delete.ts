/** `weft waypoint delete` */
import { isNotFound } from "#lib/kube/errors.ts";
import { GATEWAYS } from "#lib/kube/types.ts";
import { command } from "../../frame/command.ts";
import { EXIT, UsageError } from "../../frame/errors.ts";
import { isWaypoint } from "../../mesh/waypoint-manifest.ts";

export const deleteCommand = command({
  name: "delete",
  summary: "delete waypoints of a namespace",
  description: "Labels that send traffic through them stay: without a waypoint they do nothing.",
  cluster: true,
  args: [{ name: "NAME", optional: true, variadic: true, about: "waypoints to delete" }],
  flags: { all: { type: "boolean", about: "all of the namespace" } },
  examples: [
    ["weft waypoint delete waypoint -n shop", "One"],
    ["weft waypoint delete --all -n shop", "All of a namespace"],
  ],
  run: async (context, { args, flags }) => {
    const namespace = context.namespace();
    if (namespace === undefined) throw new UsageError("weft waypoint delete is for one namespace, not for -A");
    if (flags.all === args.length > 0) throw new UsageError("weft waypoint delete needs names, or --all");
    const { client } = context.cluster();
    const { items } = await client.list(GATEWAYS, { namespace, signal: context.signal });
    const known = items.filter(isWaypoint).map(({ metadata }) => metadata.name);
    let failed = 0;
    for (const name of flags.all ? known : args) {
      if (known.includes(name)) {
        await client.delete(GATEWAYS, { namespace, name }, { signal: context.signal }).catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
        });
        context.out(`waypoint ${namespace}/${name} deleted\n`);
      } else {
        context.note(`there is no waypoint "${name}" in namespace ${namespace}`);
        failed++;
      }
    }
    return failed === 0 ? EXIT.done : EXIT.failed;
  },
});
