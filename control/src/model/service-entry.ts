/** ServiceEntries: one service per host, with endpoints of its own or selected ones. */
import { parseCidr, parseIp } from "#lib/address.ts";
import type { IstioObject } from "#lib/kube/types.ts";
import { serviceEntryEndpointUid } from "#lib/xds/types.ts";
import { IPFamilies } from "#proto/workload_pb.ts";
import { appProtocolOf } from "./app-protocol.ts";
import { type EndpointFacts, readEndpoint } from "./endpoint.ts";
import { Fields, type Problem } from "./fields.ts";
import { type Labels, type Meta, metaOf, NO_LABELS } from "./meta.ts";
import {
  type DefinitionAddress,
  type DefinitionPort,
  type ServiceDefinition,
  TRAFFIC_DISTRIBUTION_ANNOTATION,
} from "./service-definition.ts";
import { waypointWishes } from "./waypoints.ts";

const RESOLUTIONS = ["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] as const;
type Resolution = (typeof RESOLUTIONS)[number];

/** Says that this entry wants no address from us. */
const ALLOCATE_LABEL = "networking.istio.io/enable-autoallocate-ip";

export interface ServiceEntryFacts extends Meta {
  /** One per host. */
  readonly definitions: readonly ServiceDefinition[];
  /** Endpoints and the hosts that each serves. */
  readonly endpoints: readonly { readonly facts: EndpointFacts; readonly hosts: readonly string[] }[];
  /** Hosts without an address that are to get one. */
  readonly hostsToAllocate: readonly string[];
  /** Addresses that were allocated before: `[address, host]`. */
  readonly allocated: readonly (readonly [ip: string, host: string])[];
}

export function serviceEntryFacts(
  object: IstioObject,
  clusterId: string,
  problems: Problem[],
): ServiceEntryFacts | undefined {
  const meta = metaOf(object);
  const fields = new Fields(object.spec, "spec", problems);
  const hosts = readHosts(fields);
  const resolution = fields.oneOf("resolution", RESOLUTIONS) ?? "NONE";
  if (resolution === "DYNAMIC_DNS") {
    fields.unsupported("resolution", "DYNAMIC_DNS is not supported: no host is looked up for a request");
  }
  fields.oneOf("location", ["MESH_EXTERNAL", "MESH_INTERNAL"]);
  const stated = readAddresses(fields, resolution);
  const ports = readPorts(fields);
  const subjectAltNames = fields.strings("subjectAltNames");
  const selector = readSelector(fields);
  const endpointFields = fields.objects("endpoints");
  // Ambient serves every entry to every namespace.
  fields.strings("exportTo");
  fields.refuseUnknown();
  if (selector !== undefined && endpointFields.length > 0) {
    fields.problem("workloadSelector", "must not be set beside endpoints");
  }
  const allocated = allocatedAddresses(object);
  const allocates = stated.length === 0 && wantsAllocation(object.metadata.labels, resolution);
  const allocatable = allocates ? hosts.filter((host) => !host.startsWith("*") || resolution === "DYNAMIC_DNS") : [];
  const wish = object.metadata.annotations?.[TRAFFIC_DISTRIBUTION_ANNOTATION];
  const { labels = NO_LABELS, annotations } = object.metadata;
  const wishes = waypointWishes(labels, annotations, meta.namespace);
  const definitions = hosts.map((hostname): ServiceDefinition => {
    const own = allocatable.includes(hostname) ? allocated.filter(([, host]) => host === hostname) : [];
    return {
      ...meta,
      source: "ServiceEntry",
      hostname,
      addresses: stated.length > 0 ? stated : own.map(([ip]) => ({ ip })),
      ports,
      ...(selector === undefined ? {} : { selector }),
      ipFamilies: IPFamilies.AUTOMATIC,
      subjectAltNames,
      nodeLocal: false,
      passthrough: resolution === "NONE",
      allowUnhealthy: resolution === "NONE",
      ...(wish ? { trafficDistribution: wish } : {}),
      ...wishes,
    };
  });
  const uid = (address: string) => serviceEntryEndpointUid(clusterId, meta.namespace, meta.name, address);
  const byUid = new Map<string, EndpointFacts>();
  for (const [index, endpoint] of endpointFields.entries()) {
    const facts = readEndpoint(endpoint, meta, uid, NO_LABELS, false);
    if (facts === undefined) continue;
    if (byUid.has(facts.workloadUid)) fields.problem(`endpoints[${index}].address`, "is there twice");
    else byUid.set(facts.workloadUid, facts);
  }
  const endpoints = [...byUid.values()].map((facts) => ({ facts, hosts }));
  if (endpointFields.length === 0 && selector === undefined && resolvesHosts(resolution)) {
    for (const host of hosts) endpoints.push({ facts: hostEndpoint(meta, uid(host), host), hosts: [host] });
  }
  return { ...meta, definitions, endpoints, hostsToAllocate: allocatable, allocated };
}

const NO_PORTS: ReadonlyMap<string, number> = new Map();

/** The host itself is the endpoint: the client resolves its name. */
function hostEndpoint(meta: Meta, workloadUid: string, hostname: string): EndpointFacts {
  return {
    ...meta,
    workloadUid,
    labels: NO_LABELS,
    ips: [],
    hostname,
    serviceAccount: "",
    ports: NO_PORTS,
    healthy: true,
    hostNetwork: false,
    tunnel: "none",
  };
}

function resolvesHosts(resolution: Resolution): boolean {
  return resolution === "DNS" || resolution === "DNS_ROUND_ROBIN";
}

function wantsAllocation(labels: Labels = NO_LABELS, resolution: Resolution): boolean {
  return resolution !== "NONE" && labels[ALLOCATE_LABEL] !== "false";
}

function allocatedAddresses(object: IstioObject): [string, string][] {
  const result: [string, string][] = [];
  // The schema of a status is open: anybody may have written anything.
  const fields = new Fields(object.status, "status", []);
  for (const address of fields.objects("addresses")) {
    const ip = parseIp(address.string("value") ?? "");
    const host = address.string("host");
    if (ip !== undefined && host !== undefined) result.push([ip, host]);
  }
  return result;
}

function readHosts(fields: Fields): string[] {
  const hosts = new Set<string>();
  for (const [index, host] of fields.strings("hosts").entries()) {
    if (/^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/.test(host)) {
      hosts.add(host.toLowerCase());
    } else {
      fields.problem(`hosts[${index}]`, `"${host}" is no host name`);
    }
  }
  if (hosts.size === 0) fields.problem("hosts", "needs at least one host");
  return [...hosts];
}

function readAddresses(fields: Fields, resolution: Resolution): DefinitionAddress[] {
  const addresses: DefinitionAddress[] = [];
  for (const [index, text] of fields.strings("addresses").entries()) {
    const range = parseCidr(text);
    if (range === undefined) {
      fields.problem(`addresses[${index}]`, `"${text}" is neither an IP address nor a CIDR`);
    } else if (!text.includes("/")) {
      addresses.push({ ip: range.ip });
    } else if (resolution !== "NONE" && resolution !== "STATIC") {
      fields.problem(`addresses[${index}]`, "a CIDR needs resolution NONE or STATIC");
    } else {
      addresses.push(range);
    }
  }
  return addresses;
}

function readPorts(fields: Fields): DefinitionPort[] {
  const ports: DefinitionPort[] = [];
  for (const port of fields.objects("ports")) {
    const number = port.integer("number", 1, 65_535);
    const name = port.string("name") ?? "";
    const protocol = port.string("protocol") ?? "";
    const target = port.integer("targetPort", 1, 65_535) ?? number;
    port.refuseUnknown();
    if (number === undefined || target === undefined) {
      if (!port.has("number")) port.problem("number", "is required");
      continue;
    }
    if (ports.some((other) => other.number === number)) {
      port.problem("number", `${number} is there twice`);
      continue;
    }
    if (protocol.toUpperCase() === "UDP") continue;
    ports.push({ number, name, target, appProtocol: appProtocolOf(protocol, name) });
  }
  return ports;
}

function readSelector(fields: Fields): Labels | undefined {
  const selector = fields.object("workloadSelector");
  if (selector === undefined) return undefined;
  const labels = selector.map("labels");
  selector.refuseUnknown();
  if (Object.keys(labels).length === 0) {
    selector.problem("labels", "needs at least one label");
    return undefined;
  }
  return labels;
}
