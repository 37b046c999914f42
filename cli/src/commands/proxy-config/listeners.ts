/** `weft proxy-config listeners` */
import { joinHostPort } from "#lib/address.ts";
import { command } from "../../frame/command.ts";
import { type ChainJson, chosenWaypoint, type ProgramJson, programOf, WAYPOINT_ARGUMENT } from "../../mesh/program.ts";

export interface ListenerRow {
  readonly listener: string;
  readonly chain: string;
  readonly match: string;
  readonly protocol: string;
  readonly policies: readonly string[];
}

export const listenersCommand = command({
  name: "listeners",
  aliases: ["listener", "l"],
  summary: "show what a waypoint takes traffic for",
  cluster: true,
  output: ["table", "wide", "json", "yaml"],
  args: [WAYPOINT_ARGUMENT],
  flags: { port: { type: "string", value: "PORT", about: "only of this port" } },
  examples: [
    ["weft pc listeners -n shop", "Of the namespace's waypoint"],
    ["weft proxy-config listener waypoint.shop --port 80 -o wide", "One port, with its policies"],
  ],
  run: async (context, { args, flags }) => {
    const program = await programOf(context, await chosenWaypoint(context, args[0]));
    const rows = listenerRows(program).filter(
      ({ match }) => flags.port === undefined || match.endsWith(`:${flags.port}`),
    );
    context.print.rows(
      rows,
      [
        { title: "LISTENER", of: ({ listener }) => listener },
        { title: "CHAIN", of: ({ chain }) => chain },
        { title: "MATCH", of: ({ match }) => match },
        { title: "PROTOCOL", of: ({ protocol }) => protocol },
        { title: "POLICIES", of: ({ policies }) => policies.join(","), wide: true },
      ],
      "nothing is bound to it",
    );
    return undefined;
  },
});

export function listenerRows({ Destination = [], Listener = [] }: ProgramJson): ListenerRow[] {
  const own = Listener.map(({ name, resource: { address, port = 0, chain } }) => ({
    listener: name,
    chain: name,
    match: joinHostPort(address || "*", port),
    ...traits(chain),
  }));
  const bound = Destination.flatMap(({ name, resource: { namespace = "", hostname, addresses = [], ports = [] } }) =>
    ports.flatMap(({ port = 0, chain }) =>
      addresses.map((address) => ({
        listener: "mesh",
        chain: hostname ? `${namespace}/${hostname}` : name,
        match: joinHostPort(address, port),
        ...traits(chain),
      })),
    ),
  );
  return [...own, ...bound];
}

function traits({ protocol = "HTTP", policies = [] }: ChainJson = {}): Pick<ListenerRow, "protocol" | "policies"> {
  return { protocol, policies };
}
