/** Clusters and their endpoints. */
import { create } from "@bufbuild/protobuf";
import { ipFromBytes } from "#lib/address.ts";
import {
  type ClientTls,
  type Cluster,
  Cluster_Discovery,
  Cluster_HttpProtocol,
  ClusterSchema,
  ConnectionPoolSchema,
  type Endpoint,
  EndpointSchema,
  type Endpoints,
  EndpointsSchema,
  type LoadBalancer,
  LoadBalancerSchema,
  type LocalitySetting,
  LocalitySettingSchema,
  type SessionPersistence,
} from "#proto/l7_pb.ts";
import { AppProtocol, TunnelProtocol, type Workload, WorkloadStatus } from "#proto/workload_pb.ts";
import { compareText, type Labels } from "../model/meta.ts";
import type { DefinitionPort, ServiceDefinition } from "../model/service-definition.ts";
import type { MeshConfigFacts } from "./istio/mesh-config.ts";
import type { LoadBalancerFacts, TrafficBlocks } from "./istio/traffic-policy.ts";

/** What one cluster is for. */
export interface ClusterTarget {
  readonly name: string;
  readonly definition: ServiceDefinition;
  readonly port: DefinitionPort;
  readonly subset: string;
  readonly session?: SessionPersistence;
  /** HTTP/2 whatever the port says. */
  readonly grpc: boolean;
}

const ZONE_PRIORITY = ["topology.istio.io/network", "topology.kubernetes.io/region", "topology.kubernetes.io/zone"];
const NODE_PRIORITY = [...ZONE_PRIORITY, "topology.istio.io/subzone", "kubernetes.io/hostname"];
const PRIORITIES: ReadonlyMap<string, readonly string[]> = new Map([
  ["PreferClose", ZONE_PRIORITY],
  ["PreferSameZone", ZONE_PRIORITY],
  ["PreferSameNode", NODE_PRIORITY],
]);

export function compileCluster(
  target: ClusterTarget,
  blocks: TrafficBlocks,
  mesh: MeshConfigFacts,
  distribution: string | undefined,
  tls: ClientTls | undefined,
): Cluster {
  const { definition, port } = target;
  const { loadBalancer, pool, outlier } = blocks;
  const locality = localityOf(
    loadBalancer,
    mesh,
    definition.trafficDistribution ?? distribution,
    outlier !== undefined,
  );
  return create(ClusterSchema, {
    name: target.name,
    serviceNamespace: definition.namespace,
    serviceHostname: definition.hostname,
    serviceName: definition.name,
    port: port.number,
    subset: target.subset,
    discovery:
      definition.passthrough || loadBalancer?.passthrough === true
        ? Cluster_Discovery.ORIGINAL_DST
        : Cluster_Discovery.ENDPOINTS,
    connectTimeoutMs: BigInt(pool?.connectTimeoutMs || mesh.connectTimeoutMs),
    httpProtocol: protocolOf(target, blocks, mesh),
    loadBalancer: balancer(loadBalancer, locality, target.session),
    pool: {
      ...(pool?.message ?? create(ConnectionPoolSchema)),
      ...(blocks.retryBudget === undefined ? {} : { retryBudget: blocks.retryBudget }),
    },
    ...(outlier === undefined ? {} : { outlier }),
    ...(tls === undefined
      ? {}
      : { tls: tls.subjectAltNames.length > 0 ? tls : { ...tls, subjectAltNames: [...definition.subjectAltNames] } }),
    proxyProtocolV2: blocks.proxyProtocolV2 ?? false,
  });
}

function protocolOf(
  { port, grpc }: ClusterTarget,
  { pool }: TrafficBlocks,
  mesh: MeshConfigFacts,
): Cluster_HttpProtocol {
  if (grpc || port.appProtocol === AppProtocol.HTTP2 || port.appProtocol === AppProtocol.GRPC)
    return Cluster_HttpProtocol.HTTP2;
  if (pool?.useClientProtocol === true) return Cluster_HttpProtocol.DOWNSTREAM;
  if (pool?.upgrade ?? mesh.h2Upgrade) return Cluster_HttpProtocol.HTTP2;
  return port.appProtocol === AppProtocol.HTTP11 ? Cluster_HttpProtocol.HTTP1 : Cluster_HttpProtocol.DOWNSTREAM;
}

function balancer(
  facts: LoadBalancerFacts | undefined,
  locality: LocalitySetting | undefined,
  session: SessionPersistence | undefined,
): LoadBalancer {
  return create(LoadBalancerSchema, {
    ...(facts?.message ?? create(LoadBalancerSchema)),
    ...(locality === undefined ? {} : { locality }),
    ...(session === undefined ? {} : { session }),
  });
}

/** The rule's, then the service's own wish, then the mesh's. Without outlier detection nothing says when to fail over. */
function localityOf(
  facts: LoadBalancerFacts | undefined,
  mesh: MeshConfigFacts,
  distribution: string | undefined,
  detects: boolean,
): LocalitySetting | undefined {
  if (facts?.locality === null) return undefined;
  const wish = PRIORITIES.get(distribution ?? "");
  if (facts?.locality === undefined && wish !== undefined) {
    return create(LocalitySettingSchema, { failover: true, failoverPriority: [...wish] });
  }
  const setting = facts?.locality ?? mesh.locality ?? undefined;
  return setting === undefined || (setting.distribute.length === 0 && !detects) ? undefined : setting;
}

/** A workload and the labels that its object has. */
export interface LabelledWorkload {
  readonly workload: Workload;
  readonly labels: Labels;
}

export function compileEndpoints(
  target: ClusterTarget,
  serviceKey: string,
  workloads: Iterable<LabelledWorkload>,
  subset: Labels,
  blocks: TrafficBlocks,
  priorities: readonly string[],
): Endpoints {
  const endpoints: Endpoint[] = [];
  for (const { workload, labels } of workloads) {
    if (!Object.entries(subset).every(([key, value]) => labels[key] === value)) continue;
    if (workload.status !== WorkloadStatus.HEALTHY && !target.definition.allowUnhealthy) continue;
    const port = workload.services[serviceKey]?.ports.find(
      ({ servicePort }) => servicePort === target.port.number,
    )?.targetPort;
    if (port === undefined || port === 0) continue;
    const endpoint = compileEndpoint(workload, labels, port, blocks, priorities, target.definition.subjectAltNames);
    if (endpoint !== undefined) endpoints.push(endpoint);
  }
  endpoints.sort((a, b) => compareText(a.ip || a.hostname, b.ip || b.hostname) || a.port - b.port);
  return create(EndpointsSchema, { cluster: target.name, endpoints });
}

/** Undefined when it must not be talked to: it has no address, or no way to prove itself though the rule demands it. */
export function compileEndpoint(
  workload: Workload,
  labels: Labels,
  port: number,
  { tls }: TrafficBlocks,
  priorities: readonly string[],
  subjectAltNames: readonly string[],
): Endpoint | undefined {
  const [address] = workload.addresses;
  if (address === undefined && workload.hostname === "") return undefined;
  // TLS of the rule is end to end: it goes through the tunnel too, and DISABLE is about that TLS only.
  const tunnel = workload.tunnelProtocol === TunnelProtocol.HBONE;
  if (tls?.kind === "mesh" && !tunnel) return undefined;
  const principal = principalOf(workload);
  const { region = "", zone = "", subzone = "" } = workload.locality ?? {};
  return create(EndpointSchema, {
    ...(address === undefined ? { hostname: workload.hostname } : { ip: ipFromBytes(address) }),
    port,
    weight: workload.capacity ?? 0,
    region,
    zone,
    subzone,
    tunnel,
    identities: tunnel ? [`spiffe://${principal}`, ...subjectAltNames] : [],
    labels: priorityLabels(workload, labels, priorities),
    workload: {
      name: workload.workloadName || workload.name,
      namespace: workload.namespace,
      canonicalService: workload.canonicalName,
      canonicalRevision: workload.canonicalRevision,
      clusterId: workload.clusterId,
      principal: workload.serviceAccount === "" ? "" : `spiffe://${principal}`,
      app: labels.app ?? "",
      version: labels.version ?? "",
      node: workload.node,
    },
  });
}

function principalOf({ trustDomain, namespace, serviceAccount }: Workload): string {
  return `${trustDomain || "cluster.local"}/ns/${namespace}/sa/${serviceAccount}`;
}

function priorityLabels(workload: Workload, labels: Labels, priorities: readonly string[]): Record<string, string> {
  const result: Record<string, string> = {};
  const { region = "", zone = "", subzone = "" } = workload.locality ?? {};
  const topology: Labels = {
    "topology.istio.io/network": workload.network,
    "topology.kubernetes.io/region": region,
    "topology.kubernetes.io/zone": zone,
    "topology.istio.io/subzone": subzone,
    "kubernetes.io/hostname": workload.node,
  };
  for (const priority of priorities) {
    const [key = ""] = priority.split("=", 1);
    const value = labels[key] ?? topology[key];
    if (value !== undefined && value !== "") result[key] = value;
  }
  return result;
}
