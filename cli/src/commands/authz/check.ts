/** `weft authz check`: the policies that are in force for a pod or a Service. */
import { command } from "../../frame/command.ts";

export const checkCommand = command({
  name: "check",
  summary: "list the policies that are in force for a pod or a Service",
  description:
    "L4 policies are enforced by the agent of the pod's node, L7 ones by the waypoint that the Service is behind. With -f the list is the one that would be, and says what is added, changed and removed.",
  args: [{ name: "NAME", about: "pod or Service: web-1, pod/shop/web-1, svc/db" }],
  flags: {
    file: { type: "string", short: "f", multiple: true, value: "FILE", about: "manifests that are not applied yet" },
  },
  cluster: true,
  output: ["table", "wide", "json", "yaml"],
  examples: [
    ["weft authz check web-1 -n shop", "Of a pod"],
    ["weft authz check svc/reviews -n bookinfo -o wide", "Of a Service and its pods, with what the rules ask for"],
    ["weft authz check web-1 -f new-policy.yaml", "As it would be with a file"],
  ],
  run: async (context, { args, flags }) => (await import("../../explain/run-check.ts")).runCheck(context, args, flags),
});
