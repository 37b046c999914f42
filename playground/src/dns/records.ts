/** The names of a cluster, as the Kubernetes DNS specification gives them. */
import type { Store } from "../api/store.ts";
import { SERVICE_NAME_LABEL } from "../controllers/endpointslice.ts";
import type { Endpoint, EndpointSlice, Service } from "../kinds/types.ts";

export const CLUSTER_DOMAIN = "cluster.local";

export interface SrvTarget {
  readonly port: number;
  readonly target: string;
}

/** What a name has; undefined for a name that does not exist. */
export interface NameRecords {
  readonly addresses: readonly string[];
  readonly srv: readonly SrvTarget[];
  readonly cname?: string;
}

const EMPTY: NameRecords = { addresses: [], srv: [] };

/** `name` in lower case without the last dot, below `cluster.local`. */
export function lookupName(store: Store, name: string): NameRecords | undefined {
  const labels = name.slice(0, -(CLUSTER_DOMAIN.length + 1)).split(".");
  const kind = labels.pop();
  if (name === CLUSTER_DOMAIN || (kind === "svc" && labels.length === 0)) return EMPTY;
  if (kind === "pod") return podName(labels);
  if (kind !== "svc") return undefined;
  const namespace = labels.pop() ?? "";
  const serviceName = labels.pop();
  if (serviceName === undefined) return store.get("namespaces", namespace) === undefined ? undefined : EMPTY;
  const service = store.get("services", `${namespace}/${serviceName}`) as Service | undefined;
  if (service === undefined) return undefined;
  if (labels.length === 0) return serviceRecords(store, service);
  if (labels.length === 2 && labels.every((label) => label.startsWith("_"))) {
    return srvRecords(store, service, labels[0]?.slice(1) ?? "", labels[1]?.slice(1) ?? "");
  }
  if (labels.length === 1 && isHeadless(service)) return endpointRecords(store, service, labels[0] ?? "");
  return undefined;
}

/** The name of a service or endpoint address. */
export function lookupAddress(store: Store, ip: string): string | undefined {
  for (const service of store.values("services") as Iterable<Service>) {
    if (service.spec.clusterIPs?.includes(ip)) return serviceDomain(service);
  }
  for (const service of store.values("services") as Iterable<Service>) {
    if (!isHeadless(service)) continue;
    const endpoint = endpointsOf(store, service).find(({ endpoint: each }) => each.addresses.includes(ip));
    if (endpoint !== undefined) return `${endpointLabel(endpoint.endpoint)}.${serviceDomain(service)}`;
  }
  return undefined;
}

function serviceDomain(service: Service): string {
  return `${service.metadata.name}.${service.metadata.namespace}.svc.${CLUSTER_DOMAIN}`;
}

function isHeadless(service: Service): boolean {
  return service.spec.clusterIP === "None";
}

function serviceRecords(store: Store, service: Service): NameRecords {
  if (service.spec.type === "ExternalName") return { ...EMPTY, cname: service.spec.externalName ?? "" };
  if (!isHeadless(service)) return { addresses: service.spec.clusterIPs ?? [], srv: everySrv(store, service) };
  const addresses = endpointsOf(store, service).flatMap(({ endpoint }) => endpoint.addresses);
  return { addresses, srv: everySrv(store, service) };
}

function everySrv(store: Store, service: Service): SrvTarget[] {
  return (service.spec.ports ?? []).flatMap((port) => [
    ...(srvRecords(store, service, port.name ?? "", (port.protocol ?? "TCP").toLowerCase())?.srv ?? []),
  ]);
}

function srvRecords(store: Store, service: Service, portName: string, protocol: string): NameRecords | undefined {
  const port = service.spec.ports?.find(
    (each) => (each.name ?? "") === portName && (each.protocol ?? "TCP").toLowerCase() === protocol,
  );
  if (port === undefined) return undefined;
  if (!isHeadless(service)) return { addresses: [], srv: [{ port: port.port, target: serviceDomain(service) }] };
  const srv = endpointsOf(store, service).flatMap(({ endpoint, slice }) => {
    const number = slice.ports.find((each) => (each.name ?? "") === portName)?.port;
    if (number === undefined) return [];
    return [{ port: number, target: `${endpointLabel(endpoint)}.${serviceDomain(service)}` }];
  });
  return { addresses: [], srv };
}

function endpointRecords(store: Store, service: Service, label: string): NameRecords | undefined {
  const found = endpointsOf(store, service).filter(({ endpoint }) => endpointLabel(endpoint) === label);
  if (found.length === 0) return undefined;
  return { addresses: found.flatMap(({ endpoint }) => endpoint.addresses), srv: [] };
}

/** Ready endpoints of a service. */
function endpointsOf(store: Store, service: Service): { endpoint: Endpoint; slice: EndpointSlice }[] {
  const { namespace, name } = service.metadata;
  return [...(store.values("endpointslices.discovery.k8s.io") as Iterable<EndpointSlice>)]
    .filter((slice) => slice.metadata.namespace === namespace && slice.metadata.labels?.[SERVICE_NAME_LABEL] === name)
    .flatMap((slice) => slice.endpoints.map((endpoint) => ({ endpoint, slice })))
    .filter(({ endpoint }) => endpoint.conditions.ready !== false);
}

function endpointLabel(endpoint: Endpoint): string {
  return endpoint.hostname ?? (endpoint.addresses[0] ?? "").replaceAll(/[.:]/g, "-");
}

/** `10-1-2-3.namespace.pod.cluster.local`. */
function podName(labels: readonly string[]): NameRecords | undefined {
  const [dashed = ""] = labels;
  if (labels.length !== 2) return labels.length < 2 ? EMPTY : undefined;
  const ip = /^\d+-\d+-\d+-\d+$/.test(dashed) ? dashed.replaceAll("-", ".") : undefined;
  return ip === undefined ? undefined : { addresses: [ip], srv: [] };
}

/** The address that a `…in-addr.arpa` or `…ip6.arpa` name asks for. */
export function reverseAddress(name: string): string | undefined {
  const v4 = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name);
  if (v4 !== null) return v4.slice(1, 5).reverse().join(".");
  const v6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name)?.[1];
  if (v6 === undefined) return undefined;
  const digits = v6.split(".").reverse().join("");
  return (digits.match(/.{4}/g) ?? []).join(":");
}
