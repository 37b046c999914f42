/** `weft proxy-config endpoints` */
import { joinHostPort } from "#lib/address.ts";
import { command } from "../../frame/command.ts";
import { chosenWaypoint, ejected, type ProgramJson, programOf, WAYPOINT_ARGUMENT } from "../../mesh/program.ts";

export interface EndpointRow {
  readonly endpoint: string;
  readonly outlierCheck: "OK" | "FAILED";
  readonly cluster: string;
  readonly workload: string;
  readonly locality: string;
  readonly protocol: "HBONE" | "TCP";
  readonly weight: number;
}

export const endpointsCommand = command({
  name: "endpoints",
  aliases: ["endpoint", "ep", "e"],
  summary: "show the endpoints of a waypoint, and which are ejected",
  cluster: true,
  output: ["table", "wide", "json", "yaml"],
  args: [WAYPOINT_ARGUMENT],
  flags: {
    cluster: { type: "string", value: "NAME", about: "only of this cluster" },
    address: { type: "string", value: "IP", about: "only with this address" },
    port: { type: "string", value: "PORT", about: "only with this port" },
  },
  examples: [
    ["weft pc endpoints -n shop", "Of the namespace's waypoint"],
    ["weft pc ep waypoint.shop --address 10.64.1.3 -o wide", "Where one pod is an endpoint"],
  ],
  run: async (context, { args, flags }) => {
    const pod = await chosenWaypoint(context, args[0]);
    const [program, out] = await Promise.all([programOf(context, pod), ejected(context, pod)]);
    const rows = endpointRows(program, out).filter(
      ({ cluster, endpoint }) =>
        (flags.cluster === undefined || cluster === flags.cluster) &&
        (flags.address === undefined || endpoint.startsWith(joinHostPort(flags.address, 0).slice(0, -1))) &&
        (flags.port === undefined || endpoint.endsWith(`:${flags.port}`)),
    );
    const { paint } = context;
    context.print.rows(
      rows,
      [
        { title: "ENDPOINT", of: ({ endpoint }) => endpoint },
        { title: "STATUS", of: () => "HEALTHY" },
        { title: "OUTLIER CHECK", of: (row) => (row.outlierCheck === "OK" ? paint.good : paint.bad)(row.outlierCheck) },
        { title: "CLUSTER", of: ({ cluster }) => cluster },
        { title: "WORKLOAD", of: ({ workload }) => workload, wide: true },
        { title: "PROTOCOL", of: ({ protocol }) => protocol, wide: true },
        { title: "LOCALITY", of: ({ locality }) => locality, wide: true },
        { title: "WEIGHT", of: ({ weight }) => weight, wide: true },
      ],
      "it has no endpoints",
    );
    return undefined;
  },
});

/** The control plane sends healthy endpoints only. */
export function endpointRows({ Endpoints = [] }: ProgramJson, out: ReadonlySet<string>): EndpointRow[] {
  return Endpoints.flatMap(({ name, resource: { cluster = name, endpoints = [] } }) =>
    endpoints.map(({ ip, hostname = "", port = 0, weight = 1, region = "", zone = "", tunnel, workload }) => {
      const endpoint = joinHostPort(ip || hostname, port);
      return {
        endpoint,
        outlierCheck: out.has(`${cluster}::${endpoint}`) ? ("FAILED" as const) : ("OK" as const),
        cluster,
        workload: workload === undefined ? "" : `${workload.namespace}/${workload.name}`,
        locality: [region, zone].filter((part) => part !== "").join("/"),
        protocol: tunnel === true ? ("HBONE" as const) : ("TCP" as const),
        weight,
      };
    }),
  );
}
