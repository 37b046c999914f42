/** Workloads that are no pods: WorkloadEntries, endpoints in a ServiceEntry, endpoints in a hand-made EndpointSlice. */
import { parseIp } from "#lib/address.ts";
import type { Fields } from "./fields.ts";
import { type LocalityFacts, parseLocality } from "./locality.ts";
import type { Labels, Meta } from "./meta.ts";
import { type Tunnel, tunnelOf } from "./pod.ts";

export interface EndpointFacts extends Meta {
  readonly workloadUid: string;
  readonly labels: Labels;
  /** Canonical. */
  readonly ips: readonly string[];
  /** Resolved by the client when there is no address. */
  readonly hostname: string;
  /** Absent: that of this cluster. */
  readonly network?: string;
  /** Empty: it has no identity. */
  readonly serviceAccount: string;
  /** Port of the workload by port name. */
  readonly ports: ReadonlyMap<string, number>;
  /** Share of connections; absent means 1. */
  readonly weight?: number;
  readonly locality?: LocalityFacts;
  readonly healthy: boolean;
  readonly hostNetwork: boolean;
  readonly tunnel: Tunnel;
}

const MAX_UINT32 = 0xffff_ffff;

/**
 * The shape that WorkloadEntry and `ServiceEntry.endpoints` share. Undefined when it has no usable address.
 * `uid` makes the resource name from the address as written; `redirected` says that an agent captures it.
 */
export function readEndpoint(
  fields: Fields,
  meta: Meta,
  uid: (address: string) => string,
  extraLabels: Labels,
  redirected: boolean,
): EndpointFacts | undefined {
  const address = fields.string("address") ?? "";
  const labels = { ...extraLabels, ...fields.map("labels") };
  const network = fields.string("network") || labels["topology.istio.io/network"];
  const weight = fields.integer("weight", 0, MAX_UINT32);
  const locality = parseLocality(fields.string("locality"));
  const serviceAccount = fields.string("serviceAccount") ?? "";
  const ports = readPorts(fields);
  fields.refuseUnknown();
  if (address === "" && network === undefined) {
    fields.problem("address", "is required unless network is set");
    return undefined;
  }
  // A Unix socket is out of reach for agents, but no mistake.
  if (address.startsWith("unix://")) return undefined;
  const ip = parseIp(address);
  return {
    ...meta,
    workloadUid: uid(address),
    labels,
    ips: ip === undefined ? [] : [ip],
    hostname: ip === undefined ? address : "",
    ...(network === undefined ? {} : { network }),
    serviceAccount,
    ports,
    ...(weight === undefined || weight === 0 ? {} : { weight }),
    ...(locality === undefined ? {} : { locality }),
    healthy: true,
    hostNetwork: false,
    tunnel: tunnelOf(labels, redirected),
  };
}

function readPorts(fields: Fields): Map<string, number> {
  const result = new Map<string, number>();
  const ports = fields.object("ports");
  for (const name of ports?.names() ?? []) {
    const port = ports?.integer(name, 1, 65_535);
    if (port !== undefined) result.set(name, port);
  }
  return result;
}
