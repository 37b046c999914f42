/** Workload messages from pods and from endpoints that are no pods. */
import { create } from "@bufbuild/protobuf";
import { ipToBytes } from "#lib/address.ts";
import { podUid } from "#lib/xds/types.ts";
import {
  type GatewayAddress,
  LocalitySchema,
  NetworkMode,
  type PortList,
  PortListSchema,
  PortSchema,
  TunnelProtocol,
  type Workload,
  WorkloadSchema,
  WorkloadStatus,
  WorkloadType,
} from "#proto/workload_pb.ts";
import type { EndpointFacts } from "./endpoint.ts";
import type { LocalityFacts } from "./locality.ts";
import { compareText } from "./meta.ts";
import { canonicalName, canonicalRevision, type PodFacts, type Tunnel } from "./pod.ts";
import type { DefinitionPort, ServiceDefinition } from "./service-definition.ts";
import type { MeshSettings } from "./settings.ts";

const DEFAULT_TRUST_DOMAIN = "cluster.local";

/** What is derived from other objects for one workload. */
export interface WorkloadContext {
  readonly settings: MeshSettings;
  readonly network: string;
  readonly locality: LocalityFacts | undefined;
  /** Service key to ports. */
  readonly services: ReadonlyMap<string, PortList>;
  readonly policies: readonly string[];
  /** Where clients send what is for its own address. */
  readonly waypoint: GatewayAddress | undefined;
}

export function podWorkload(pod: PodFacts, context: WorkloadContext): Workload {
  const { settings, network } = context;
  return create(WorkloadSchema, {
    ...shared(pod.tunnel, context),
    uid: podUid(settings.clusterId, pod.namespace, pod.name),
    name: pod.name,
    namespace: pod.namespace,
    addresses: pod.ips.map(ipToBytes),
    network,
    serviceAccount: pod.serviceAccount,
    node: pod.node,
    workloadName: pod.workloadName,
    canonicalName: canonicalName(pod.labels, pod.workloadName),
    canonicalRevision: canonicalRevision(pod.labels),
    status: pod.healthy ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY,
    networkMode: pod.hostNetwork ? NetworkMode.HOST_NETWORK : NetworkMode.STANDARD,
  });
}

export function endpointWorkload(endpoint: EndpointFacts, context: WorkloadContext): Workload {
  return create(WorkloadSchema, {
    ...shared(endpoint.tunnel, context),
    uid: endpoint.workloadUid,
    name: endpoint.name,
    namespace: endpoint.namespace,
    addresses: endpoint.ips.map(ipToBytes),
    hostname: endpoint.hostname,
    network: endpoint.network ?? context.network,
    serviceAccount: endpoint.serviceAccount,
    workloadName: endpoint.name,
    canonicalName: canonicalName(endpoint.labels, endpoint.name),
    canonicalRevision: canonicalRevision(endpoint.labels),
    status: endpoint.healthy ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY,
    networkMode: endpoint.hostNetwork ? NetworkMode.HOST_NETWORK : NetworkMode.STANDARD,
    ...(endpoint.weight === undefined ? {} : { capacity: endpoint.weight }),
  });
}

function shared(tunnel: Tunnel, { settings, locality, services, policies, waypoint }: WorkloadContext) {
  return {
    tunnelProtocol: tunnel === "none" ? TunnelProtocol.NONE : TunnelProtocol.HBONE,
    nativeTunnel: tunnel === "native",
    trustDomain: settings.trustDomain === DEFAULT_TRUST_DOMAIN ? "" : settings.trustDomain,
    clusterId: settings.clusterId,
    workloadType: WorkloadType.POD,
    authorizationPolicies: [...policies],
    services: sorted(services),
    ...(locality === undefined ? {} : { locality: create(LocalitySchema, locality) }),
    ...(waypoint === undefined ? {} : { waypoint }),
  };
}

/** The order of a map's entries must not depend on when they came: the version is a hash of the bytes. */
function sorted(services: ReadonlyMap<string, PortList>): Record<string, PortList> {
  return Object.fromEntries([...services].sort(([a], [b]) => compareText(a, b)));
}

/** Named target ports are looked up among the container ports; a port that has none is left out. */
export function podPorts(pod: PodFacts, definition: ServiceDefinition): PortList {
  return portList(definition.ports, ({ target }) =>
    typeof target === "number" ? target : pod.namedPorts.find(([name]) => name === target)?.[1],
  );
}

/**
 * A Service names the workload's port by its `targetPort`; a ServiceEntry's ports meet those of the workload by the
 * port's own name.
 */
export function endpointPorts(endpoint: EndpointFacts, definition: ServiceDefinition): PortList {
  return portList(definition.ports, ({ name, target }) => {
    if (definition.source === "ServiceEntry") return endpoint.ports.get(name) ?? numberOf(target);
    return typeof target === "number" ? target : endpoint.ports.get(target);
  });
}

/** A slice gives the target port by the name of the service's port. */
export function slicePorts(ports: ReadonlyMap<string, number>, definition: ServiceDefinition): PortList {
  return portList(definition.ports, ({ name }) => ports.get(name));
}

function portList(ports: readonly DefinitionPort[], targetOf: (port: DefinitionPort) => number | undefined): PortList {
  const list = create(PortListSchema);
  for (const port of ports) {
    const targetPort = targetOf(port);
    if (targetPort !== undefined) list.ports.push(create(PortSchema, { servicePort: port.number, targetPort }));
  }
  return list;
}

function numberOf(target: number | string): number | undefined {
  return typeof target === "number" ? target : undefined;
}
