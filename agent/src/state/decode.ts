/** From wire messages to records. Throws RangeError naming the field when a resource cannot be used. */
import { fromBinary } from "@bufbuild/protobuf";
import { isIpv4, networkAddressKey } from "#lib/address.ts";
import { parseSpiffeId } from "#lib/spiffe.ts";
import {
  AddressSchema,
  ApplicationTunnel_Protocol,
  type GatewayAddress as GatewayAddressMessage,
  IPFamilies,
  LoadBalancing_HealthPolicy,
  LoadBalancing_Mode,
  NetworkMode,
  type Port,
  type Service as ServiceMessage,
  TunnelProtocol,
  Visibility,
  type Workload as WorkloadMessage,
  WorkloadStatus,
} from "#proto/workload_pb.ts";
import type { Interner } from "./interner.ts";
import {
  type GatewayAddress,
  hostKey,
  type Membership,
  type PortMap,
  type Scope,
  type Service,
  type Vip,
  type Workload,
  type WorkloadType,
  wireIp,
} from "./model.ts";

export type Decoded =
  | { readonly kind: "workload"; readonly workload: Workload }
  | { readonly kind: "service"; readonly service: Service };

const SCOPES: readonly (Scope | undefined)[] = [undefined, "region", "zone", "subzone", "node", "cluster", "network"];
const TYPES: readonly WorkloadType[] = ["deployment", "cronjob", "pod", "job"];
const HBONE_PORT = 15008;

/** Decodes one `istio.workload.Address`. */
export function decodeAddress(bytes: Uint8Array, interner: Interner): Decoded {
  return convertAddress(fromBinary(AddressSchema, bytes), interner);
}

export function convertAddress(
  message: {
    type:
      | { case: "workload"; value: WorkloadMessage }
      | { case: "service"; value: ServiceMessage }
      | { case: undefined };
  },
  interner: Interner,
): Decoded {
  switch (message.type.case) {
    case "workload":
      return { kind: "workload", workload: workload(message.type.value, interner) };
    case "service":
      return { kind: "service", service: service(message.type.value, interner) };
    default:
      throw new RangeError("type: neither workload nor service");
  }
}

function workload(m: WorkloadMessage, interner: Interner): Workload {
  if (m.uid === "") throw new RangeError("uid: empty");
  const region = m.locality?.region ?? "";
  const zone = m.locality?.zone ?? "";
  const subzone = m.locality?.subzone ?? "";
  return {
    key: 0,
    uid: m.uid,
    name: m.name,
    namespace: interner.string(m.namespace),
    ips: m.addresses.map((bytes, index) => wireIp(bytes, `addresses[${index}]`)),
    network: interner.string(m.network),
    protocol: tunnelProtocol(m.tunnelProtocol),
    nativeTunnel: m.nativeTunnel,
    hostNetwork: known(m.networkMode, NetworkMode.HOST_NETWORK, "network_mode") === NetworkMode.HOST_NETWORK,
    healthy: known(m.status, WorkloadStatus.UNHEALTHY, "status") === WorkloadStatus.HEALTHY,
    trustDomain: interner.string(m.trustDomain || "cluster.local"),
    serviceAccount: interner.string(m.serviceAccount || "default"),
    node: interner.string(m.node),
    clusterId: interner.string(m.clusterId || "Kubernetes"),
    hostname: m.hostname,
    canonicalName: interner.string(m.canonicalName),
    canonicalRevision: interner.string(m.canonicalRevision),
    workloadType: TYPES[known(m.workloadType, TYPES.length - 1, "workload_type")] ?? "pod",
    workloadName: interner.string(m.workloadName),
    capacity: m.capacity ?? 1,
    locality: interner.value(`l:${region}/${zone}/${subzone}`, () => ({ region, zone, subzone })),
    policies: interner.value(`p:${m.authorizationPolicies.join(",")}`, () => [...m.authorizationPolicies]),
    services: memberships(m.services, interner),
    waypoint: gateway(m.waypoint, "waypoint", interner),
    networkGateway: gateway(m.networkGateway, "network_gateway", interner),
    applicationTunnel:
      m.applicationTunnel === undefined
        ? undefined
        : {
            protocol: m.applicationTunnel.protocol === ApplicationTunnel_Protocol.PROXY ? "PROXY" : "NONE",
            port: m.applicationTunnel.port,
          },
  };
}

function tunnelProtocol(value: number): "TCP" | "HBONE" {
  if (value === TunnelProtocol.NONE) return "TCP";
  if (value === TunnelProtocol.HBONE) return "HBONE";
  throw new RangeError(`tunnel_protocol: ${value} is not supported`);
}

function known(value: number, max: number, field: string): number {
  if (value > max) throw new RangeError(`${field}: unknown value ${value}`);
  return value;
}

function memberships(services: WorkloadMessage["services"], interner: Interner): readonly Membership[] {
  const list = Object.entries(services).sort(([a], [b]) => (a < b ? -1 : 1));
  const key = list.map(([name, { ports }]) => `${name}=${portText(ports)}`).join(";");
  return interner.value(`s:${key}`, () =>
    list.map(([name, { ports }]) => ({ service: interner.string(name), ports: portMap(ports) })),
  );
}

function portText(ports: readonly Port[]): string {
  return ports.map((port) => `${port.servicePort}:${port.targetPort}`).join(",");
}

function portMap(ports: readonly Port[]): PortMap {
  return new Map(ports.map((port) => [port.servicePort, port.targetPort]));
}

function gateway(m: GatewayAddressMessage | undefined, field: string, interner: Interner): GatewayAddress | undefined {
  if (m === undefined) return undefined;
  const hboneMtlsPort = m.hboneMtlsPort || HBONE_PORT;
  switch (m.destination.case) {
    case "hostname": {
      const key = hostKey(m.destination.value.namespace, m.destination.value.hostname);
      return interner.value(`g:h:${key}:${hboneMtlsPort}`, () => ({ kind: "hostname", key, hboneMtlsPort }) as const);
    }
    case "address": {
      const { network, address } = m.destination.value;
      const key = networkAddressKey(network, wireIp(address, field));
      return interner.value(`g:a:${key}:${hboneMtlsPort}`, () => ({ kind: "address", key, hboneMtlsPort }) as const);
    }
    default:
      throw new RangeError(`${field}: no destination`);
  }
}

function service(m: ServiceMessage, interner: Interner): Service {
  if (m.hostname === "") throw new RangeError("hostname: empty");
  const balancing = m.loadBalancing;
  return {
    key: hostKey(m.namespace, m.hostname),
    name: m.name,
    namespace: interner.string(m.namespace),
    hostname: m.hostname,
    vips: m.addresses.map((address, index) => vip(address, index)),
    ports: portMap(m.ports),
    subjectAltNames: m.subjectAltNames.filter((name) => parseSpiffeId(name) !== undefined),
    waypoint: gateway(m.waypoint, "waypoint", interner),
    weightedWaypoints: m.weightedWaypoints.flatMap(({ destination, weight }, index) => {
      const address = gateway(destination, `weighted_waypoints[${index}]`, interner);
      return address === undefined ? [] : [{ destination: address, weight }];
    }),
    mode: balanceMode(balancing?.mode ?? LoadBalancing_Mode.UNSPECIFIED_MODE),
    preferences: (balancing?.routingPreference ?? []).map(scope),
    allowUnhealthy: balancing?.healthPolicy === LoadBalancing_HealthPolicy.ALLOW_ALL,
    ipFamilies: ipFamilies(m.ipFamilies),
    canonical: m.canonical,
    // An unknown number falls back to PUBLIC, as ztunnel does.
    namespaceOnly: m.visibility === Visibility.NAMESPACE,
  };
}

function vip(m: { network: string; address: Uint8Array; length?: number | undefined }, index: number): Vip {
  const ip = wireIp(m.address, `addresses[${index}]`);
  const bits = isIpv4(ip) ? 32 : 128;
  if (m.length !== undefined && m.length > bits) throw new RangeError(`addresses[${index}]: length ${m.length}`);
  return { network: m.network, ip, length: m.length === bits ? undefined : m.length };
}

function scope(value: number): Scope {
  const name = SCOPES[value];
  if (name === undefined) throw new RangeError(`load_balancing.routing_preference: unknown scope ${value}`);
  return name;
}

function balanceMode(value: number): Service["mode"] {
  const modes: readonly Service["mode"][] = ["standard", "strict", "failover", "passthrough"];
  const mode = modes[value];
  if (mode === undefined) throw new RangeError(`load_balancing.mode: unknown value ${value}`);
  return mode;
}

function ipFamilies(value: number): Service["ipFamilies"] {
  if (value === IPFamilies.IPV4_ONLY) return "ipv4";
  if (value === IPFamilies.IPV6_ONLY) return "ipv6";
  return value === IPFamilies.DUAL ? "dual" : "automatic";
}
