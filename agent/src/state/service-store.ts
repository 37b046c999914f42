/** All services of the mesh, found by key, VIP and host name. Endpoints are the workload store's members. */
import ipaddr from "ipaddr.js";
import { networkAddressKey } from "#lib/address.ts";
import { isVisible, type Service } from "./model.ts";

interface CidrEntry {
  readonly network: string;
  readonly range: ReturnType<typeof ipaddr.parseCIDR>;
  readonly length: number;
  readonly service: Service;
}

export class ServiceStore {
  readonly #byKey = new Map<string, Service>();
  readonly #byVip = new Map<string, Service[]>();
  readonly #byHostname = new Map<string, Service[]>();
  #cidrs: CidrEntry[] = [];

  get size(): number {
    return this.#byKey.size;
  }

  values(): IterableIterator<Service> {
    return this.#byKey.values();
  }

  /** By `namespace/hostname`. */
  get(key: string): Service | undefined {
    return this.#byKey.get(key);
  }

  /** All namespaces' services of a host name. */
  byHostname(hostname: string): readonly Service[] {
    return this.#byHostname.get(hostname) ?? [];
  }

  /**
   * The service that a client means by an address. Among equal VIPs: visible to the client, its own namespace first,
   * then a canonical one. Without an exact VIP the best CIDR.
   */
  byAddress(network: string, ip: string, clientNamespace: string): Service | undefined {
    const exact = this.#byVip.get(networkAddressKey(network, ip));
    const found = exact === undefined ? undefined : preferred(exact, clientNamespace);
    return found ?? this.#byCidr(network, ip, clientNamespace);
  }

  /** Any service with exactly this VIP, whoever asks. */
  byVip(key: string): Service | undefined {
    return this.#byVip.get(key)?.[0];
  }

  upsert(service: Service): Service | undefined {
    const previous = this.remove(service.key);
    this.#byKey.set(service.key, service);
    append(this.#byHostname, service.hostname, service);
    for (const vip of service.vips) {
      if (vip.length === undefined) append(this.#byVip, networkAddressKey(vip.network, vip.ip), service);
      else this.#addCidr(service, vip.network, vip.ip, vip.length);
    }
    return previous;
  }

  remove(key: string): Service | undefined {
    const service = this.#byKey.get(key);
    if (service === undefined) return undefined;
    this.#byKey.delete(key);
    drop(this.#byHostname, service.hostname, service);
    for (const vip of service.vips) drop(this.#byVip, networkAddressKey(vip.network, vip.ip), service);
    this.#cidrs = this.#cidrs.filter((entry) => entry.service !== service);
    return service;
  }

  #addCidr(service: Service, network: string, ip: string, length: number): void {
    this.#cidrs.push({ network, range: ipaddr.parseCIDR(`${ip}/${length}`), length, service });
  }

  #byCidr(network: string, ip: string, clientNamespace: string): Service | undefined {
    if (this.#cidrs.length === 0) return undefined;
    const address = ipaddr.parse(ip);
    let best: CidrEntry | undefined;
    for (const entry of this.#cidrs) {
      if (entry.network !== network || !isVisible(entry.service, clientNamespace)) continue;
      if (entry.range[0].kind() !== address.kind() || !address.match(entry.range)) continue;
      if (best === undefined || cidrRank(entry, clientNamespace) > cidrRank(best, clientNamespace)) best = entry;
    }
    return best?.service;
  }
}

/** Own namespace beats a longer prefix, which beats canonical. */
function cidrRank(entry: CidrEntry, clientNamespace: string): number {
  const own = entry.service.namespace === clientNamespace ? 1000 : 0;
  return own + entry.length * 2 + (entry.service.canonical ? 1 : 0);
}

/** Visible to the client; its own namespace, then canonical, then first. */
export function preferred(
  services: readonly Service[],
  clientNamespace: string,
  preferredNamespace?: string,
): Service | undefined {
  const visible = services.filter((service) => isVisible(service, clientNamespace));
  return (
    visible.find((service) => service.namespace === clientNamespace) ??
    visible.find((service) => service.canonical) ??
    visible.find((service) => service.namespace === preferredNamespace) ??
    visible[0]
  );
}

function append(index: Map<string, Service[]>, key: string, service: Service): void {
  const list = index.get(key);
  if (list === undefined) index.set(key, [service]);
  else list.push(service);
}

function drop(index: Map<string, Service[]>, key: string, service: Service): void {
  const rest = index.get(key)?.filter((other) => other !== service);
  if (rest === undefined) return;
  if (rest.length === 0) index.delete(key);
  else index.set(key, rest);
}
