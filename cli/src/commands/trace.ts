/** `weft trace`: the way that a connection would take. */

import { livePictures } from "../explain/live.ts";
import { findDestination, findSource } from "../explain/parties.ts";
import { PATHS, trace, type Way } from "../explain/trace.ts";
import { command } from "../frame/command.ts";
import type { Context } from "../frame/context.ts";
import { EXIT } from "../frame/errors.ts";

export const traceCommand = command({
  name: "trace",
  summary: "show the way that a connection would take, hop by hop, and why",
  description:
    "SRC is a pod (web-1, shop/web-1, web-1.shop), the name of a workload (web), or an address. DST is a Service or pod with its port (db:80, svc/shop/db:80, pod/db-1:5432), a host name, or an address with a port. What is said is worked out of the cluster's objects by the code that control plane and agents run; nothing is sent. A service with several endpoints may have several ways.",
  args: [
    { name: "SRC", about: "who connects" },
    { name: "DST", about: "to whom, with :PORT where there are several" },
  ],
  cluster: true,
  output: ["table", "json", "yaml"],
  examples: [
    ["weft trace web db:5432 -n shop", "From a pod of workload web to Service db"],
    ["weft trace shop/web-1 api.example.com:443", "Out of the mesh"],
    ["weft trace 192.0.2.7 pod/db-1:5432 -o json", "From somebody without an identity"],
  ],
  run: async (context, { args }) => {
    const [from = "", to = ""] = args;
    const { now } = await livePictures(context, []);
    const namespace = context.namespace() ?? "default";
    const source = findSource(now, from, namespace);
    const destination = findDestination(now, to, namespace, source);
    const ways = trace({ picture: now, source, destination, request: undefined });
    if (context.print.isData) context.print.data(ways);
    else context.out(ways.map((way) => wayText(way, context)).join("\n"));
    return EXIT.done;
  },
});

const OUTCOMES: Readonly<Record<Way["outcome"], "good" | "bad" | "warn">> = {
  reached: "good",
  denied: "bad",
  refused: "warn",
};

function wayText({ path, to, protection, hops, outcome }: Way, { paint }: Context): string {
  const how = protection.length === 0 ? "" : `, ${protection.join(", then ")}`;
  const lines = [
    `${paint.strong(`${path} (${PATHS[path]})`)} to ${to}${how}: ${paint[OUTCOMES[outcome]](outcome)}`,
    ...hops.map(({ at, what, why }, i) => `  ${i + 1}. ${at} ${what}\n     ${paint.faint(`because ${why}`)}`),
  ];
  return `${lines.join("\n")}\n`;
}
