/** The agent's state in the shape that `istioctl ztunnel-config` reads. */
import { joinHostPort } from "#lib/address.ts";
import { certificateJson } from "#lib/identity/certificate-json.ts";
import type { IdentityStatus } from "#lib/identity/identity-manager.ts";
import { EventCursor } from "../direct/event-decoder.ts";
import type { EnrollmentStatus } from "../enroll/enroller.ts";
import type { ConnectionRecord, NetnsCookie, PodId, PolicyMatch, SocketAddress, StringMatch } from "../native.ts";
import type { MeshState } from "../state/mesh-state.ts";
import type { GatewayAddress, PortMap, Service, Vip, Workload } from "../state/model.ts";
import type { StoredPolicy } from "../state/policy-store.ts";

export interface DumpSources {
  readonly state: MeshState;
  readonly identities: () => readonly IdentityStatus[];
  readonly pods: () => readonly EnrollmentStatus[];
  readonly connections: () => readonly ConnectionRecord[];
  /** The kernel-direct path: as a whole, of a pod, and its open connections as events. */
  readonly direct: {
    status(): object;
    shortcuts(pod: PodId): object | undefined;
    connections(): Uint8Array;
  };
  readonly config: Readonly<Record<string, unknown>>;
  readonly version: Readonly<Record<string, unknown>>;
}

/** Top-level keys of the dump, in order; each is asked for by name, too (`?only=`). */
const PARTS: Readonly<Record<string, (sources: DumpSources) => Iterable<string>>> = {
  workloads: ({ state }) => list(state.workloads.values(), workloadJson),
  services: ({ state }) => list(state.services.values(), (service) => serviceJson(service, state)),
  policies: ({ state }) => list(state.policies.values(), policyJson),
  certificates: ({ identities }) => list(identities(), certificateJson),
  direct: ({ direct }) => one(direct.status()),
  workloadState: (sources) => one(podStates(sources)),
  stagedServices: ({ state }) => one(staged(state)),
  staticConfig: () => one({}),
  version: ({ version }) => one(version),
  config: ({ config }) => one(config),
};

export const DUMP_PARTS: readonly string[] = Object.keys(PARTS);

/** In pieces, since the text of a large mesh is tens of megabytes. */
export function* configDump(sources: DumpSources, only: readonly string[] = DUMP_PARTS): Generator<string> {
  let separator = "{";
  for (const [key, part] of Object.entries(PARTS)) {
    if (!only.includes(key)) continue;
    yield `${separator}${JSON.stringify(key)}:`;
    yield* part(sources);
    separator = ",";
  }
  yield "}";
}

function* one(value: unknown): Generator<string> {
  yield JSON.stringify(value);
}

function* list<T>(values: Iterable<T>, each: (value: T) => unknown): Generator<string> {
  let separator = "[";
  for (const value of values) {
    yield separator + JSON.stringify(each(value));
    separator = ",";
  }
  yield separator === "[" ? "[]" : "]";
}

function workloadJson(workload: Workload): object {
  return {
    uid: workload.uid,
    workloadIps: workload.ips,
    waypoint: gatewayJson(workload.waypoint),
    networkGateway: gatewayJson(workload.networkGateway),
    protocol: workload.protocol,
    networkMode: workload.hostNetwork ? "HostNetwork" : "Standard",
    name: workload.name,
    namespace: workload.namespace,
    trustDomain: workload.trustDomain,
    serviceAccount: workload.serviceAccount,
    network: workload.network,
    workloadName: workload.workloadName,
    workloadType: workload.workloadType,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    hostname: workload.hostname,
    node: workload.node,
    nativeTunnel: workload.nativeTunnel,
    applicationTunnel: workload.applicationTunnel,
    authorizationPolicies: workload.policies,
    status: workload.healthy ? "Healthy" : "Unhealthy",
    clusterId: workload.clusterId,
    locality: workload.locality,
    services: workload.services.map(({ service }) => service),
    capacity: workload.capacity,
  };
}

function serviceJson(service: Service, state: MeshState): object {
  const endpoints: Record<string, object> = {};
  for (const workload of state.workloads.members(service.key)) {
    if (!workload.healthy && !service.allowUnhealthy) continue;
    const ports = workload.services.find((membership) => membership.service === service.key)?.ports;
    endpoints[workload.uid] = {
      workloadUid: workload.uid,
      port: portsJson(ports ?? new Map()),
      status: workload.healthy ? "Healthy" : "Unhealthy",
    };
  }
  return {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    vips: service.vips.filter(({ length }) => length === undefined).map(vipText),
    cidrVips: service.vips.filter(({ length }) => length !== undefined).map(vipText),
    ports: portsJson(service.ports),
    endpoints,
    subjectAltNames: service.subjectAltNames,
    waypoint: gatewayJson(service.waypoint),
    weightedWaypoints: service.weightedWaypoints.map(({ destination, weight }) => ({
      ...gatewayJson(destination),
      weight,
    })),
    loadBalancer: {
      routingPreferences: service.preferences.map(capital),
      mode: capital(service.mode),
      healthPolicy: service.allowUnhealthy ? "AllowAll" : "OnlyHealthy",
    },
    ipFamilies: service.ipFamilies === "automatic" ? undefined : FAMILIES[service.ipFamilies],
    canonical: service.canonical,
    visibility: service.namespaceOnly ? "Namespace" : "Public",
  };
}

const FAMILIES = { ipv4: "IPv4Only", ipv6: "IPv6Only", dual: "Dual" } as const;
const SCOPES = { global: "Global", namespace: "Namespace", "workload-selector": "WorkloadSelector" } as const;

function policyJson({ name, namespace, scope, policy }: StoredPolicy): object {
  return {
    name,
    namespace,
    scope: SCOPES[scope],
    action: policy.action === "allow" ? "Allow" : "Deny",
    rules: policy.rules.map((clauses) => clauses.map((matches) => matches.map(matchJson))),
    dryRun: policy.dryRun,
  };
}

function matchJson(match: PolicyMatch): object {
  const cidrs = (list: PolicyMatch["sourceIps"]) => some(list.map(({ ip, length }) => `${ip}/${length}`));
  return {
    namespaces: some(match.namespaces.map(stringMatchJson)),
    notNamespaces: some(match.notNamespaces.map(stringMatchJson)),
    principals: some(match.principals.map(stringMatchJson)),
    notPrincipals: some(match.notPrincipals.map(stringMatchJson)),
    sourceIps: cidrs(match.sourceIps),
    notSourceIps: cidrs(match.notSourceIps),
    destinationIps: cidrs(match.destinationIps),
    notDestinationIps: cidrs(match.notDestinationIps),
    destinationPorts: some(match.destinationPorts),
    notDestinationPorts: some(match.notDestinationPorts),
    serviceAccounts: some(match.serviceAccounts),
    notServiceAccounts: some(match.notServiceAccounts),
  };
}

function some<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list;
}

function stringMatchJson({ kind, value }: StringMatch): object | string {
  return kind === "presence" ? "Presence" : { [capital(kind)]: value };
}

function podStates({ pods, connections, direct }: DumpSources): object {
  const states: Record<string, object> = {};
  const all = connections();
  const untouched = directConnections(direct.connections());
  for (const pod of pods()) {
    const own = all.filter((record) => record.pod === pod.id);
    const inbound = own.filter(({ path }) => path !== "outbound").map(connectionJson);
    const outbound = own.filter(({ path }) => path === "outbound").map(connectionJson);
    states[pod.uid] = {
      state: pod.state,
      ...(pod.reason === undefined ? {} : { reason: pod.reason }),
      info: { name: pod.name, namespace: pod.namespace, serviceAccount: pod.serviceAccount },
      ...(pod.id === undefined ? {} : direct.shortcuts(pod.id)),
      connections: {
        inbound: [...inbound, ...(untouched.byDestination.get(pod.cookie) ?? [])],
        outbound: [...outbound, ...(untouched.bySource.get(pod.cookie) ?? [])],
      },
    };
  }
  return states;
}

interface ConnectionJson {
  readonly src: string;
  readonly originalDst: string;
  readonly actualDst: string;
  readonly protocol: string;
}

type ByPod = Map<NetnsCookie | undefined, ConnectionJson[]>;

/** Connections that BPF alone handles, by either end; a direct one is its source's outbound and its destination's inbound. */
function directConnections(events: Uint8Array): { readonly bySource: ByPod; readonly byDestination: ByPod } {
  const bySource: ByPod = new Map();
  const byDestination: ByPod = new Map();
  const cursor = new EventCursor(events);
  while (cursor.next()) {
    const record = cursor.record();
    if (record === undefined) continue;
    const json = {
      src: addressText(record.source),
      originalDst: addressText(record.asked),
      actualDst: addressText(record.destination),
      protocol: record.path === "direct" ? "DIRECT" : "TCP",
    };
    append(bySource, record.sourcePod, json);
    append(byDestination, record.destinationPod, json);
  }
  return { bySource, byDestination };
}

function append(index: ByPod, pod: NetnsCookie, json: ConnectionJson): void {
  const list = index.get(pod);
  if (list === undefined) index.set(pod, [json]);
  else list.push(json);
}

function connectionJson({ source, destination, upstream, authority }: ConnectionRecord): ConnectionJson {
  return {
    src: addressText(source),
    originalDst: addressText(destination),
    actualDst: upstream === undefined ? "" : addressText(upstream),
    protocol: authority === undefined ? "TCP" : "HBONE",
  };
}

function addressText({ ip, port }: SocketAddress): string {
  return joinHostPort(ip, port);
}

/** Endpoints that wait for their service: its key to the workloads that name it. */
function staged(state: MeshState): Record<string, readonly string[]> {
  const waiting: Record<string, string[]> = {};
  for (const workload of state.workloads.values()) {
    for (const { service } of workload.services) {
      if (state.services.get(service) !== undefined) continue;
      const uids = waiting[service] ?? [];
      uids.push(workload.uid);
      waiting[service] = uids;
    }
  }
  return waiting;
}

function gatewayJson(gateway: GatewayAddress | undefined): object | undefined {
  return gateway === undefined ? undefined : { destination: gateway.key, hboneMtlsPort: gateway.hboneMtlsPort };
}

function portsJson(ports: PortMap): Record<string, number> {
  return Object.fromEntries(ports);
}

function vipText({ network, ip, length }: Vip): string {
  return length === undefined ? `${network}/${ip}` : `${network}/${ip}/${length}`;
}

function capital(word: string): string {
  return word.slice(0, 1).toUpperCase() + word.slice(1);
}
