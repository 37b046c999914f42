/**
 * What an outbound connection does: a pure function of who opens it, where to, and what the mesh is.
 *
 * The order of the steps is ambient's: waypoint of the service, service, workload with its waypoint, passthrough.
 * A destination that the mesh knows but cannot reach is refused, never sent in the clear.
 */
import { isIpv4, joinHostPort, networkAddressKey } from "#lib/address.ts";
import { type Candidate, chooseDirect, type Offer } from "../direct/choice.ts";
import type { LocalPod, LocalPodView } from "../enroll/local-pods.ts";
import type { DirectEndpoint, Route, RouteEndpoint, SocketAddress } from "../native.ts";
import { CIDR_KEY, type MeshView } from "../state/mesh-state.ts";
import { type GatewayAddress, type Service, type Workload, workloadIdentity } from "../state/model.ts";
import { selectByLocality } from "./balance.ts";

export const HBONE_PORT = 15008;

/** Addresses of a host name: undefined while they are being looked up. */
export type HostLookup = (hostname: string) => readonly string[] | undefined;

export interface Compiled {
  /** Undefined: wait, a host name is being looked up. */
  readonly route: Route | undefined;
  /** What BPF may choose from by itself; empty: it asks the agent. */
  readonly direct: readonly DirectEndpoint[];
  /** Keys of `MeshChange`, `dns:<hostname>` and `pod:<ip>`, on which this answer rests. */
  readonly dependencies: ReadonlySet<string>;
}

interface Target {
  readonly workload: Workload;
  readonly port: number;
}

const NOTHING_OFFERED: Offer = { kind: "none" };
const REFUSED: Route = { kind: "refuse", reason: "no_healthy_upstream" };
/** Going past a waypoint would be to go past its policies. */
const NO_WAYPOINT: Route = { kind: "refuse", reason: "no_waypoint" };
const PASSTHROUGH: Route = { kind: "passthrough" };

/** Who asks, as a pod of this node; without it nothing is BPF's to choose. */
export interface LocalSource {
  readonly pod: LocalPod;
  readonly pods: LocalPodView;
}

export function compileRoute(
  source: Workload,
  destination: SocketAddress,
  view: MeshView,
  lookUpHost: HostLookup,
  local?: LocalSource,
): Compiled {
  const compiler = new Compiler(source, destination, view, lookUpHost);
  const route = compiler.route();
  return { route, direct: local === undefined ? [] : compiler.direct(local), dependencies: compiler.dependencies };
}

class Compiler {
  readonly dependencies = new Set<string>();
  readonly #source: Workload;
  readonly #destination: SocketAddress;
  readonly #view: MeshView;
  readonly #lookUpHost: HostLookup;
  #waiting = false;
  #offer: Offer = NOTHING_OFFERED;

  constructor(source: Workload, destination: SocketAddress, view: MeshView, lookUpHost: HostLookup) {
    this.#source = source;
    this.#destination = destination;
    this.#view = view;
    this.#lookUpHost = lookUpHost;
  }

  route(): Route | undefined {
    const route = this.#decide();
    return this.#waiting && (route.kind !== "endpoints" || route.endpoints.length === 0) ? undefined : route;
  }

  /** After `route`. */
  direct({ pod, pods }: LocalSource): readonly DirectEndpoint[] {
    if (this.#waiting) return [];
    return chooseDirect({
      source: pod,
      sourceWorkload: this.#source,
      destination: this.#destination,
      offer: this.#offer,
      pods,
      localWorkload: (namespace, name) => this.#view.workloads.local(namespace, name),
      dependencies: this.dependencies,
    });
  }

  #decide(): Route {
    const { ip, port } = this.#destination;
    const workload = this.#workloadByAddress(networkAddressKey(this.#source.network, ip));
    const service = this.#serviceByAddress(ip);
    // For the waypoint a workload's own address wins over a VIP; for endpoints it is the other way round.
    if (workload === undefined && service !== undefined) {
      const waypoints = serviceWaypoints(service);
      if (waypoints.length > 0) return this.#toWaypoints(waypoints, service);
    }
    if (service !== undefined) return this.#toService(service, port, workload);
    if (workload === undefined) return this.#passthrough();
    if (workload.waypoint !== undefined && !this.#isWaypoint(workload.waypoint)) {
      return this.#toWaypoints([{ destination: workload.waypoint, weight: 1 }], undefined);
    }
    const candidates: Candidate[] = [];
    const found = [this.#endpoint({ workload, port }, [], 1, undefined, candidates)];
    this.#offer = { kind: "endpoints", candidates };
    return endpoints(found, undefined);
  }

  #passthrough(): Route {
    this.#offer = { kind: "passthrough" };
    return PASSTHROUGH;
  }

  /** `owner`: the workload whose own address was asked for. */
  #toService(service: Service, port: number, owner: Workload | undefined): Route {
    if (service.mode === "passthrough") return owner === undefined ? this.#passthrough() : PASSTHROUGH;
    const candidates: Candidate[] = [];
    const found = this.#balance(service, port).map((target) =>
      this.#endpoint(target, service.subjectAltNames, target.workload.capacity, service, candidates),
    );
    if (serviceWaypoints(service).length === 0) this.#offer = { kind: "endpoints", candidates };
    return endpoints(found, service.hostname);
  }

  /** Always HBONE, whatever the waypoint's record says; the authority is the address that the client dialled. */
  #toWaypoints(
    waypoints: readonly { readonly destination: GatewayAddress; readonly weight: number }[],
    service: Service | undefined,
  ): Route {
    const authority = joinHostPort(this.#destination.ip, this.#destination.port);
    const found: (RouteEndpoint | undefined)[] = [];
    for (const { destination, weight } of waypoints) {
      const { targets, names, owner } = this.#waypointTargets(destination);
      // Weights of two waypoints must compare as wholes, whatever number of pods each has.
      const capacity = targets.reduce((sum, target) => sum + target.workload.capacity, 0);
      for (const { workload, port } of targets) {
        const ip = this.#dialIp(workload, owner);
        if (ip === undefined || workload.network !== this.#source.network) continue;
        const share = waypoints.length === 1 ? workload.capacity : (weight * workload.capacity * SCALE) / capacity;
        if (share <= 0) continue;
        found.push({
          key: workload.key,
          weight: Math.max(1, Math.round(share)),
          dial: { ip, port },
          tunnel: { authority, identities: [workloadIdentity(workload), ...names] },
        });
      }
    }
    return endpoints(found, service?.hostname, NO_WAYPOINT);
  }

  #waypointTargets(gateway: GatewayAddress): { targets: readonly Target[]; names: readonly string[]; owner?: Service } {
    const service = this.#gatewayService(gateway);
    if (service !== undefined) {
      return {
        targets: this.#balance(service, gateway.hboneMtlsPort),
        names: service.subjectAltNames,
        owner: service,
      };
    }
    const workload = this.#gatewayWorkload(gateway);
    return { targets: workload === undefined ? [] : [{ workload, port: gateway.hboneMtlsPort }], names: [] };
  }

  #gatewayService(gateway: GatewayAddress): Service | undefined {
    if (gateway.kind === "hostname") {
      this.dependencies.add(`h:${gateway.key}`);
      return this.#view.services.get(gateway.key);
    }
    this.dependencies.add(`ip:${gateway.key}`);
    if (this.#view.workloads.byAddress(gateway.key) !== undefined) return undefined;
    const service = this.#view.services.byVip(gateway.key);
    if (service !== undefined) this.dependencies.add(`h:${service.key}`);
    return service;
  }

  #gatewayWorkload(gateway: GatewayAddress): Workload | undefined {
    return gateway.kind === "hostname"
      ? this.#view.workloads.byHost(gateway.key)
      : this.#view.workloads.byAddress(gateway.key);
  }

  /** The sender itself is one of the waypoint's pods: identity and address both match. */
  #isWaypoint(gateway: GatewayAddress): boolean {
    const { targets } = this.#waypointTargets(gateway);
    return targets.some(
      ({ workload }) =>
        workloadIdentity(workload) === workloadIdentity(this.#source) &&
        workload.ips.some((ip) => this.#source.ips.includes(ip)),
    );
  }

  /** Endpoints of a service that this source may use for a service port. */
  #balance(service: Service, port: number): readonly Target[] {
    this.dependencies.add(`h:${service.key}`);
    const declared = service.ports.get(port);
    if (declared === undefined) return [];
    const candidates: Target[] = [];
    for (const workload of this.#view.workloads.members(service.key)) {
      if (!workload.healthy && !service.allowUnhealthy) continue;
      if (workload.ips.length === 0 && workload.hostname === "") continue;
      const target = targetPort(workload, service.key, port, declared);
      if (target !== undefined) candidates.push({ workload, port: target });
    }
    return selectByLocality(service, this.#source, candidates);
  }

  #endpoint(
    { workload, port }: Target,
    names: readonly string[],
    weight: number,
    service: Service | undefined,
    candidates: Candidate[],
  ): RouteEndpoint | undefined {
    // Another network is reached through its gateway with a tunnel in the tunnel, which the engine does not speak.
    if (workload.network !== this.#source.network || weight <= 0) return undefined;
    const ip = this.#dialIp(workload, service);
    if (ip === undefined) return undefined;
    candidates.push({ workload, weight, address: { ip, port }, tunnelled: workload.protocol !== "TCP" });
    if (workload.protocol === "TCP") return { key: workload.key, weight, dial: { ip, port } };
    return {
      key: workload.key,
      weight,
      dial: { ip, port: HBONE_PORT },
      tunnel: { authority: joinHostPort(ip, port), identities: [workloadIdentity(workload), ...names] },
    };
  }

  /** The asked-for address if the workload owns it, else one of the asked-for family, else its host name's. */
  #dialIp(workload: Workload, service: Service | undefined): string | undefined {
    const asked = this.#destination.ip;
    if (workload.ips.includes(asked)) return asked;
    const allowed = workload.ips.filter((ip) => familyAllowed(ip, service));
    if (allowed.length > 0) return sameFamilyFirst(allowed, asked);
    if (workload.hostname === "") return undefined;
    this.dependencies.add(`dns:${workload.hostname}`);
    const resolved = this.#lookUpHost(workload.hostname);
    if (resolved === undefined) this.#waiting = true;
    return sameFamilyFirst(resolved ?? [], asked);
  }

  #workloadByAddress(key: string): Workload | undefined {
    this.dependencies.add(`ip:${key}`);
    return this.#view.workloads.byAddress(key);
  }

  #serviceByAddress(ip: string): Service | undefined {
    // A new CIDR can only change the answer where no exact VIP gives it; exact ones come with their own key.
    const service = this.#view.services.byAddress(this.#source.network, ip, this.#source.namespace);
    this.dependencies.add(CIDR_KEY);
    if (service !== undefined) this.dependencies.add(`h:${service.key}`);
    return service;
  }
}

/** Fractions of weights become whole numbers of at least this grain. */
const SCALE = 1000;

function serviceWaypoints(service: Service): readonly { destination: GatewayAddress; weight: number }[] {
  const weighted = service.weightedWaypoints.filter(({ weight }) => weight > 0);
  if (weighted.length > 0) return weighted;
  return service.waypoint === undefined ? [] : [{ destination: service.waypoint, weight: 1 }];
}

function endpoints(
  found: readonly (RouteEndpoint | undefined)[],
  serviceHost: string | undefined,
  otherwise = REFUSED,
): Route {
  const usable = found.filter((endpoint) => endpoint !== undefined);
  if (usable.length === 0) return otherwise;
  return { kind: "endpoints", endpoints: usable, ...(serviceHost === undefined ? {} : { serviceHost }) };
}

/** The workload's own mapping, then the service's, then the port itself where an application tunnel takes all. */
export function targetPort(
  workload: Workload,
  serviceKey: string,
  servicePort: number,
  declared: number | undefined,
): number | undefined {
  const membership = workload.services.find(({ service }) => service === serviceKey);
  const own = membership?.ports.get(servicePort);
  if (own !== undefined && own !== 0) return own;
  if (declared !== undefined && declared !== 0) return declared;
  return (workload.applicationTunnel?.port ?? 0) !== 0 ? servicePort : undefined;
}

function familyAllowed(ip: string, service: Service | undefined): boolean {
  if (service?.ipFamilies === "ipv4") return isIpv4(ip);
  if (service?.ipFamilies === "ipv6") return !isIpv4(ip);
  return true;
}

function sameFamilyFirst(ips: readonly string[], asked: string): string | undefined {
  return ips.find((ip) => isIpv4(ip) === isIpv4(asked)) ?? ips[0];
}
