/** `weft authz explain`: which policy decides, and why. */
import { EXIT_DENIED, EXIT_DEPENDS } from "../../explain/exit-codes.ts";
import { command } from "../../frame/command.ts";

export const explainCommand = command({
  name: "explain",
  summary: "say which policy decides on a connection or request, and why",
  description:
    "The very policies that agents and waypoints get are evaluated, each at the place where it is in force. With METHOD and PATH a request is asked about, without them the connection alone. With -f the answer is given twice: as it is, and as it would be with those objects; nothing is applied.",
  args: [
    { name: "SRC", about: "who connects: a pod, a workload's name, or an address" },
    { name: "DST", about: "to whom: a Service or pod, with :PORT where there are several" },
    { name: "METHOD", optional: true, about: "of an HTTP request" },
    { name: "PATH", optional: true, about: "of the request, with its query" },
  ],
  flags: {
    file: { type: "string", short: "f", multiple: true, value: "FILE", about: "manifests that are not applied yet" },
    header: { type: "string", short: "H", multiple: true, value: "NAME:VALUE", about: "a header of the request" },
  },
  cluster: true,
  output: ["table", "json", "yaml"],
  exitCodes: [
    [EXIT_DENIED, "authz explain: it is denied (with -f: it would be)"],
    [EXIT_DEPENDS, "authz explain: it depends on the request; give METHOD and PATH"],
  ],
  examples: [
    ["weft authz explain web db:5432 -n shop", "May web connect to db?"],
    ["weft authz explain web reviews:9080 GET /reviews/1 -n bookinfo", "May it send this request?"],
    ["weft authz explain web db:5432 -f new-policy.yaml", "What would a policy change?"],
  ],
  run: async (context, { args, flags }) =>
    (await import("../../explain/run-explain.ts")).runExplain(context, args, flags),
});
