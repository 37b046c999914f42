/** `weft trace`: the way that a connection would take. */
import { command } from "../frame/command.ts";

export const traceCommand = command({
  name: "trace",
  summary: "show the way that a connection would take, hop by hop, and why",
  description:
    "SRC is a pod (web-1, shop/web-1, web-1.shop), the name of a workload (web), an address, or kubelet for a probe. DST is a Service or pod with its port (db:80, svc/shop/db:80, pod/db-1:5432), a host name, or an address with a port. What is said is worked out of the cluster's objects by the code that control plane and agents run; nothing is sent. A service with several endpoints may have several ways.",
  args: [
    { name: "SRC", about: "who connects" },
    { name: "DST", about: "to whom, with :PORT where there are several" },
  ],
  cluster: true,
  output: ["table", "json", "yaml"],
  examples: [
    ["weft trace web db:5432 -n shop", "From a pod of workload web to Service db"],
    ["weft trace shop/web-1 api.example.com:443", "Out of the mesh"],
    ["weft trace kubelet pod/db-1:5432", "A probe"],
    ["weft trace 192.0.2.7 pod/db-1:5432 -o json", "From somebody without an identity"],
  ],
  run: async (context, { args }) => (await import("../explain/run-trace.ts")).runTrace(context, args),
});
