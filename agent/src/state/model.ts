/** Lean records of what the control plane says. One per workload of the mesh, so every field is weighed. */
import { ipFromBytes, networkAddressKey } from "#lib/address.ts";
import { formatSpiffeId } from "#lib/spiffe.ts";

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

/** A waypoint or network gateway: `net/ip` or `ns/host`. */
export interface GatewayAddress {
  readonly kind: "hostname" | "address";
  /** `namespace/hostname`, or `network/ip`. */
  readonly key: string;
  readonly hboneMtlsPort: number;
}

export interface WeightedWaypoint {
  readonly destination: GatewayAddress;
  readonly weight: number;
}

/** Service port to target port; 0 when the target is a named port. */
export type PortMap = ReadonlyMap<number, number>;

/** A service that a workload is an endpoint of. */
export interface Membership {
  /** `namespace/hostname`. */
  readonly service: string;
  readonly ports: PortMap;
}

export type TunnelProtocol = "TCP" | "HBONE";
export type WorkloadType = "deployment" | "cronjob" | "pod" | "job";

export interface Workload {
  /** Number of ours for this uid, kept over updates; `RouteEndpoint.key`. The store sets it, 0 before. */
  key: number;
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly ips: readonly string[];
  readonly network: string;
  readonly protocol: TunnelProtocol;
  readonly nativeTunnel: boolean;
  readonly hostNetwork: boolean;
  readonly healthy: boolean;
  readonly trustDomain: string;
  readonly serviceAccount: string;
  readonly node: string;
  readonly clusterId: string;
  readonly hostname: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly workloadType: WorkloadType;
  readonly workloadName: string;
  readonly capacity: number;
  readonly locality: Locality;
  readonly policies: readonly string[];
  readonly services: readonly Membership[];
  readonly waypoint: GatewayAddress | undefined;
  readonly networkGateway: GatewayAddress | undefined;
  readonly applicationTunnel: { readonly protocol: "NONE" | "PROXY"; readonly port: number } | undefined;
}

/** A VIP. `length` undefined: one address. */
export interface Vip {
  readonly network: string;
  readonly ip: string;
  readonly length: number | undefined;
}

export type Scope = "region" | "zone" | "subzone" | "node" | "cluster" | "network";
export type BalanceMode = "standard" | "strict" | "failover" | "passthrough";
export type IpFamilies = "automatic" | "ipv4" | "ipv6" | "dual";

export interface Service {
  /** `namespace/hostname`. */
  readonly key: string;
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  readonly vips: readonly Vip[];
  readonly ports: PortMap;
  readonly subjectAltNames: readonly string[];
  readonly waypoint: GatewayAddress | undefined;
  readonly weightedWaypoints: readonly WeightedWaypoint[];
  readonly mode: BalanceMode;
  readonly preferences: readonly Scope[];
  /** Unhealthy workloads are endpoints too. */
  readonly allowUnhealthy: boolean;
  readonly ipFamilies: IpFamilies;
  readonly canonical: boolean;
  /** Only clients of its own namespace see it. */
  readonly namespaceOnly: boolean;
}

/** The identity that this workload proves. */
export function workloadIdentity(workload: Workload): string {
  return formatSpiffeId(workload);
}

/** Keys under which this workload is found by address; none on the host's network, whose address is not its own. */
export function addressKeys(workload: Workload): string[] {
  return workload.hostNetwork ? [] : workload.ips.map((ip) => networkAddressKey(workload.network, ip));
}

/** `namespace/hostname`. */
export function hostKey(namespace: string, hostname: string): string {
  return `${namespace}/${hostname}`;
}

export function isVisible(service: Service, clientNamespace: string): boolean {
  return !service.namespaceOnly || service.namespace === clientNamespace;
}

/** Canonical text of wire bytes, or a RangeError naming the field. */
export function wireIp(bytes: Uint8Array, field: string): string {
  try {
    return ipFromBytes(bytes);
  } catch (cause) {
    throw new RangeError(`${field}: ${(cause as Error).message}`);
  }
}
