/** `weft proxy-config routes` */
import { command } from "../../frame/command.ts";
import {
  type ChainJson,
  chosenWaypoint,
  type ProgramJson,
  programOf,
  type RouteJson,
  WAYPOINT_ARGUMENT,
} from "../../mesh/program.ts";
import { matchText, targetText } from "../../mesh/route-text.ts";

export interface RouteRow {
  readonly name: string;
  readonly host: string;
  readonly domains: readonly string[];
  readonly match: string;
  readonly origin: string;
  readonly target: string;
}

export const routesCommand = command({
  name: "routes",
  aliases: ["route", "r"],
  summary: "show the HTTP routes of a waypoint, in the order in which they are tried",
  cluster: true,
  output: ["table", "wide", "json", "yaml"],
  args: [WAYPOINT_ARGUMENT],
  flags: { name: { type: "string", value: "HOST:PORT", about: "only of this destination" } },
  examples: [
    ["weft pc routes -n shop", "Of the namespace's waypoint"],
    [
      "weft pc routes waypoint.shop --name reviews.shop.svc.cluster.local:9080 -o wide",
      "Of one service, with where they lead",
    ],
  ],
  run: async (context, { args, flags }) => {
    const program = await programOf(context, await chosenWaypoint(context, args[0]));
    const rows = routeRows(program).filter(({ name }) => flags.name === undefined || name === flags.name);
    context.print.rows(
      rows,
      [
        { title: "NAME", of: ({ name }) => name },
        { title: "VHOST NAME", of: ({ host }) => host },
        { title: "DOMAINS", of: ({ domains }) => domains.join(", ") },
        { title: "MATCH", of: ({ match }) => match },
        { title: "VIRTUAL SERVICE", of: ({ origin }) => origin },
        { title: "TARGET", of: ({ target }) => target, wide: true },
      ],
      "it has no HTTP routes",
    );
    return undefined;
  },
});

export function routeRows({ Destination = [], Listener = [], RouteGroup = [] }: ProgramJson): RouteRow[] {
  const groups = new Map(RouteGroup.map(({ name, resource: { routes = [] } }) => [name, routes]));
  const chains: (readonly [string, ChainJson | undefined])[] = [
    ...Listener.map(({ name, resource }) => [name, resource.chain] as const),
    ...Destination.flatMap(({ name, resource: { hostname, ports = [] } }) =>
      ports.map(({ port = 0, chain }) => [`${hostname || name}:${port}`, chain] as const),
    ),
  ];
  return chains.flatMap(([name, chain]) =>
    (chain?.http?.hosts ?? []).flatMap(({ name: host = "", domains = [], routes = [], routeGroups = [] }) =>
      [...routeGroups.flatMap((group) => groups.get(group) ?? []), ...routes].map((route) => ({
        name,
        host,
        domains,
        ...routeTraits(route),
      })),
    ),
  );
}

function routeTraits(route: RouteJson): Pick<RouteRow, "match" | "origin" | "target"> {
  // `VirtualService/ns/name`, and nothing for what was made without any.
  return { match: matchText(route.match), origin: route.origin ?? "", target: targetText(route) };
}
