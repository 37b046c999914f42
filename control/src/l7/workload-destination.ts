/** The Destination of a workload that is addressed by itself, with the clusters that lead to it alone. */
import { create } from "@bufbuild/protobuf";
import { ipFromBytes } from "#lib/address.ts";
import {
  Chain_Protocol,
  ChainSchema,
  type Cluster,
  Cluster_HttpProtocol,
  ClusterSchema,
  type Destination,
  DestinationSchema,
  type Endpoints,
  EndpointsSchema,
  type RetryPolicy,
  RouteSchema,
} from "#proto/l7_pb.ts";
import { AppProtocol, type Workload } from "#proto/workload_pb.ts";
import type { Labels } from "../model/meta.ts";
import type { ServiceDefinition } from "../model/service-definition.ts";
import { compileEndpoint } from "./cluster.ts";
import type { PortLimits } from "./envoy-filter/rate-limits.ts";
import { protocolOf } from "./service-destination.ts";

export interface WorkloadProgram {
  readonly destination: Destination;
  readonly clusters: readonly Cluster[];
  readonly endpoints: readonly Endpoints[];
}

/** What its chains have beside the way there. */
export interface WorkloadExtras {
  /** Empty: the waypoint's. */
  readonly telemetry: string;
  limits(port: number): PortLimits;
}

/** Its ports are those that services lead to. */
export function compileWorkload(
  workload: Workload,
  labels: Labels,
  definitionOf: (key: string) => ServiceDefinition | undefined,
  retry: RetryPolicy | null,
  { telemetry, limits }: WorkloadExtras,
): WorkloadProgram {
  const protocols = new Map<number, AppProtocol>();
  for (const [key, list] of Object.entries(workload.services)) {
    for (const { servicePort, targetPort } of list.ports) {
      const declared = definitionOf(key)?.ports.find(({ number }) => number === servicePort)?.appProtocol;
      if (!protocols.has(targetPort)) protocols.set(targetPort, declared ?? AppProtocol.UNKNOWN);
    }
  }
  const clusters: Cluster[] = [];
  const endpoints: Endpoints[] = [];
  const ports = [...protocols]
    .sort(([a], [b]) => a - b)
    .map(([port, appProtocol]) => {
      const name = `inbound|${port}||${workload.uid}`;
      const http2 = appProtocol === AppProtocol.HTTP2 || appProtocol === AppProtocol.GRPC;
      clusters.push(
        create(ClusterSchema, {
          name,
          port,
          httpProtocol: http2 ? Cluster_HttpProtocol.HTTP2 : Cluster_HttpProtocol.DOWNSTREAM,
        }),
      );
      const endpoint = compileEndpoint(workload, labels, port, {}, [], []);
      endpoints.push(create(EndpointsSchema, { cluster: name, endpoints: endpoint === undefined ? [] : [endpoint] }));
      const protocol = protocolOf({ number: port, appProtocol });
      const to = [{ cluster: name, weight: 1 }];
      const { chain, ofRoute = (route) => route } = limits(port);
      const action = { case: "forward", value: { clusters: to, ...(retry === null ? {} : { retry }) } } as const;
      const http = {
        hosts: [
          {
            name: `inbound|http|${port}`,
            domains: ["*"],
            routes: [ofRoute(create(RouteSchema, { name: "default", action }))],
          },
        ],
      };
      const speaksHttp = protocol === Chain_Protocol.HTTP || protocol === Chain_Protocol.SNIFF;
      return {
        port,
        chain: create(ChainSchema, {
          protocol,
          ...(speaksHttp ? { http } : {}),
          tcp: protocol === Chain_Protocol.HTTP ? [] : [{ clusters: to }],
          telemetry,
          ...(chain === undefined || !speaksHttp ? {} : { rateLimits: chain }),
        }),
      };
    });
  const destination = create(DestinationSchema, {
    name: workload.uid,
    namespace: workload.namespace,
    addresses: workload.addresses.map(ipFromBytes),
    ports,
  });
  return { destination, clusters, endpoints };
}
