/** `weft waypoint generate` */
import { stringify } from "yaml";
import { command } from "../../frame/command.ts";
import { DEFAULT_NAME, WAYPOINT_CLASS, waypointManifest } from "../../mesh/waypoint-manifest.ts";
import { MANIFEST } from "./flags.ts";

export const generateCommand = command({
  name: "generate",
  summary: "print the manifest of a waypoint",
  description: "No cluster is asked, unless no namespace is given and the kubeconfig's context has to name it.",
  cluster: true,
  flags: MANIFEST,
  examples: [
    ["weft waypoint generate -n shop", "For services of a namespace"],
    ["weft waypoint generate -n shop --for all | kubectl apply -f -", "For services and workloads"],
  ],
  run: (context, { flags }) => {
    const manifest = waypointManifest({
      namespace: context.namespace() ?? "default",
      name: flags.name ?? DEFAULT_NAME,
      trafficType: flags.for,
      revision: flags.revision,
      className: flags.class ?? WAYPOINT_CLASS,
    });
    context.out(stringify(manifest));
    return undefined;
  },
});
