/** A service under one host name, whether a Service or a ServiceEntry stands behind it. */
import { create } from "@bufbuild/protobuf";
import { ipToBytes } from "#lib/address.ts";
import {
  type AppProtocol,
  type GatewayAddress,
  IPFamilies,
  LoadBalancing_HealthPolicy,
  LoadBalancing_Mode,
  LoadBalancing_Scope,
  LoadBalancingSchema,
  NetworkAddressSchema,
  PortSchema,
  type Service,
  ServiceSchema,
} from "#proto/workload_pb.ts";
import { byAge, type Labels, type Meta } from "./meta.ts";
import type { WaypointWishes } from "./waypoints.ts";

export interface DefinitionPort {
  readonly number: number;
  readonly name: string;
  /** A port of the workload, or the name of one. */
  readonly target: number | string;
  readonly appProtocol: AppProtocol;
}

/** A VIP; with a length it is a range of them. */
export interface DefinitionAddress {
  readonly ip: string;
  readonly length?: number;
}

export interface ServiceDefinition extends Meta, WaypointWishes {
  readonly source: "Service" | "ServiceEntry";
  readonly hostname: string;
  readonly addresses: readonly DefinitionAddress[];
  readonly ports: readonly DefinitionPort[];
  /** Labels of the workloads behind it; absent when endpoints come from elsewhere. */
  readonly selector?: Labels;
  readonly ipFamilies: IPFamilies;
  readonly subjectAltNames: readonly string[];
  /** Endpoints on the client's node only. */
  readonly nodeLocal: boolean;
  /** The address asked for is the endpoint. */
  readonly passthrough: boolean;
  /** Unhealthy endpoints count too. */
  readonly allowUnhealthy: boolean;
  /** Its own wish; the namespace's counts when absent. */
  readonly trafficDistribution?: string;
}

export const TRAFFIC_DISTRIBUTION_ANNOTATION = "networking.istio.io/traffic-distribution";

const PREFER_ZONE = [LoadBalancing_Scope.NETWORK, LoadBalancing_Scope.REGION, LoadBalancing_Scope.ZONE];
const PREFER_NODE = [...PREFER_ZONE, LoadBalancing_Scope.SUBZONE, LoadBalancing_Scope.NODE];

const PREFERENCES: ReadonlyMap<string, readonly LoadBalancing_Scope[]> = new Map([
  ["PreferClose", PREFER_ZONE],
  ["PreferSameZone", PREFER_ZONE],
  ["PreferSameNode", PREFER_NODE],
]);

/** Which of two definitions of one host in one namespace counts: Kubernetes' own, else the older. */
export function byPrecedence(a: ServiceDefinition, b: ServiceDefinition): number {
  if (a.source !== b.source) return a.source === "Service" ? -1 : 1;
  return byAge(a, b);
}

export interface ServiceContext {
  readonly network: string;
  /** The namespace's wish for traffic distribution. */
  readonly trafficDistribution: string | undefined;
  /** Found by host name from other namespaces. */
  readonly canonical: boolean;
  /** Where clients send what is for it. */
  readonly waypoint: GatewayAddress | undefined;
  /** In its place where there are several. */
  readonly weightedWaypoints: { readonly destination: GatewayAddress; readonly weight: number }[];
}

/** The wire message. */
export function serviceMessage(definition: ServiceDefinition, context: ServiceContext): Service {
  const { network, canonical } = context;
  const message = create(ServiceSchema, {
    name: definition.name,
    namespace: definition.namespace,
    hostname: definition.hostname,
    addresses: definition.addresses.map(({ ip, length }) =>
      create(NetworkAddressSchema, { network, address: ipToBytes(ip), ...(length === undefined ? {} : { length }) }),
    ),
    ports: definition.ports.map((port) =>
      create(PortSchema, {
        servicePort: port.number,
        targetPort: typeof port.target === "number" ? port.target : 0,
        appProtocol: port.appProtocol,
      }),
    ),
    subjectAltNames: [...definition.subjectAltNames],
    ipFamilies: definition.ipFamilies,
    canonical,
    ...(context.waypoint === undefined ? {} : { waypoint: context.waypoint }),
    weightedWaypoints: context.weightedWaypoints,
  });
  const { mode, preference } = balancing(definition, context.trafficDistribution);
  if (mode !== LoadBalancing_Mode.UNSPECIFIED_MODE || definition.allowUnhealthy) {
    message.loadBalancing = create(LoadBalancingSchema, {
      mode,
      routingPreference: [...preference],
      healthPolicy: definition.allowUnhealthy
        ? LoadBalancing_HealthPolicy.ALLOW_ALL
        : LoadBalancing_HealthPolicy.ONLY_HEALTHY,
    });
  }
  return message;
}

function balancing(
  definition: ServiceDefinition,
  namespaceWish: string | undefined,
): { mode: LoadBalancing_Mode; preference: readonly LoadBalancing_Scope[] } {
  if (definition.passthrough) return { mode: LoadBalancing_Mode.PASSTHROUGH, preference: [] };
  if (definition.nodeLocal) return { mode: LoadBalancing_Mode.STRICT, preference: [LoadBalancing_Scope.NODE] };
  const preference = PREFERENCES.get(definition.trafficDistribution ?? namespaceWish ?? "");
  if (preference !== undefined) return { mode: LoadBalancing_Mode.FAILOVER, preference };
  return { mode: LoadBalancing_Mode.UNSPECIFIED_MODE, preference: [] };
}

/** Of Kubernetes' `ipFamilies`. */
export function ipFamiliesOf(families: readonly string[] | undefined): IPFamilies {
  if (families === undefined || families.length === 0) return IPFamilies.AUTOMATIC;
  if (families.length > 1) return IPFamilies.DUAL;
  return families[0] === "IPv6" ? IPFamilies.IPV6_ONLY : IPFamilies.IPV4_ONLY;
}
