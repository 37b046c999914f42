/**
 * All routes that hang on services: which are in force where, and what their statuses say. Each change marks what
 * depends on it, and nothing else is looked at again.
 */

import { serviceKey } from "#lib/xds/types.ts";
import type { TcpRoute, TlsRoute } from "#proto/l7_pb.ts";
import { Collection } from "../../model/collection.ts";
import { OwnedNames } from "../../model/owned-names.ts";
import type { ServiceDefinition } from "../../model/service-definition.ts";
import type { ServiceLookup } from "../../model/service-lookup.ts";
import { type BeginsTls, backendKey } from "./backend-ref.ts";
import { type HttpCandidate, httpRouting } from "./http-routing.ts";
import { GATEWAY_GROUP, type ParentRef, parentKey, type ServiceKind, serviceKindOf } from "./parent-ref.ts";
import type { ParentVerdict } from "./parent-status.ts";
import { type PortRoutes, portRoutes } from "./port-routes.ts";
import type { RouteFacts, RouteKind } from "./route-facts.ts";
import { type Attachment, backendsOf, parentVerdict } from "./route-verdict.ts";
import type { RoutingContext } from "./routing-context.ts";
import { tcpRouting, tlsRouting } from "./stream-routing.ts";

/** The routes of one port of a service. */
export type MeshRouting =
  /** Complete, in the order in which they are tried. They hold for any host name. */
  | { readonly family: "http"; readonly routes: readonly HttpCandidate[]; readonly context: RoutingContext }
  | { readonly family: "tls"; readonly routes: TlsRoute[] }
  | { readonly family: "tcp"; readonly routes: TcpRoute[] };

export interface MeshRoutesEvents {
  /** What `routesFor` gives for this service may have changed. */
  readonly onService?: (service: string) => void;
  /** What `verdictsOf` gives for this route may have changed. */
  readonly onVerdict?: (kind: RouteKind, key: string) => void;
  /** What `acceptedAt` gives for this route may have changed. */
  readonly onRoute?: (id: string) => void;
}

export interface MeshRoutesOptions extends MeshRoutesEvents {
  readonly services: ServiceLookup;
  /** Whether a Gateway is a waypoint of ours. */
  readonly isWaypoint: (namespace: string, name: string) => boolean;
  /** Whether traffic to a service goes by a waypoint. */
  readonly isBound: (service: ServiceDefinition) => boolean;
  /** Absent: waypoints begin no TLS. */
  readonly beginsTls?: BeginsTls;
}

export class MeshRoutes {
  readonly collections: { readonly [K in RouteKind]: Collection<RouteFacts> };
  readonly #options: MeshRoutesOptions;
  /** Ids of routes by the key of each service that they hang on, or name as a parent. */
  readonly #byParent = new OwnedNames();
  readonly #byBackend = new OwnedNames();
  readonly #byId = new Map<string, RouteFacts>();
  /** By the key of a service and the port; forgotten when one of its routes or the service changes. */
  readonly #decided = new Map<string, Map<number, PortRoutes | undefined>>();
  /** What was decided before, of services of which some routes have changed: most of it holds still. */
  readonly #earlier = new Map<string, ReadonlyMap<number, PortRoutes | undefined>>();
  /** Services whose routes may win or lose by changes of this turn, with all that was decided before each of them. */
  readonly #unsettled = new Map<string, ReadonlyMap<number, PortRoutes | undefined>[]>();

  constructor(options: MeshRoutesOptions) {
    this.#options = options;
    const collection = () => new Collection<RouteFacts>((before, after) => this.#onRoute(before, after));
    this.collections = {
      GRPCRoute: collection(),
      HTTPRoute: collection(),
      TLSRoute: collection(),
      TCPRoute: collection(),
    };
  }

  /** Undefined: no route of this API hangs on the port. */
  routesFor(
    service: ServiceDefinition,
    port: number,
    given: Omit<RoutingContext, "beginsTls">,
  ): MeshRouting | undefined {
    const found = this.#portRoutes(service, port);
    if (found === undefined) return undefined;
    const context: RoutingContext = { ...given, beginsTls: this.#options.beginsTls ?? NO_TLS };
    switch (found.family) {
      case "http":
        return { family: "http", routes: httpRouting(found.groups, port), context };
      case "tls":
        return { family: "tls", routes: tlsRouting(found.groups, context) };
      case "tcp":
        return { family: "tcp", routes: tcpRouting(found.groups, context) };
    }
  }

  /** One for each parent that is ours to judge, in the order of the route. Undefined when there is no such route. */
  verdictsOf(kind: RouteKind, key: string): ParentVerdict[] | undefined {
    const route = this.collections[kind].get(key);
    const { services, beginsTls = NO_TLS } = this.#options;
    return route?.parents.flatMap((parent) => {
      const attachment = this.#attachment(route, parent);
      return attachment === undefined ? [] : [parentVerdict(route, parent, attachment, services, beginsTls)];
    });
  }

  /** Services (`namespace/host`) at which a route is accepted. */
  *acceptedAt(id: string): Generator<string> {
    const route = this.#byId.get(id);
    if (route === undefined || route.refused.length > 0) return;
    for (const parent of route.parents) {
      const kind = serviceKindOf(parent);
      if (kind === undefined || this.#attachment(route, parent)?.state !== "attached") continue;
      for (const { namespace, hostname } of this.#definitions(kind, parent)) yield serviceKey(namespace, hostname);
    }
  }

  /** A service was added, changed or removed; one of both is there. */
  serviceChanged(before: ServiceDefinition | undefined, after: ServiceDefinition | undefined): void {
    const definition = after ?? before;
    if (definition === undefined) return;
    const { source, namespace, name, hostname } = definition;
    const own = parentKey(source, namespace, name);
    this.#decided.delete(own);
    if (after === undefined) this.#earlier.delete(own);
    for (const id of this.#byParent.of(own)) this.#tellVerdict(id);
    const touched = new Set([
      ...(source === "Service" ? this.#byBackend.of(own) : []),
      ...this.#byBackend.of(`Hostname/${hostname}`),
    ]);
    for (const id of touched) {
      const route = this.#byId.get(id);
      if (route === undefined) continue;
      this.#tellVerdict(id);
      this.#tellServices(route);
    }
    if (this.#byParent.of(own).size > 0) this.#options.onService?.(serviceKey(namespace, hostname));
  }

  /** A service went behind a waypoint, or came out. */
  bindingChanged({ source, namespace, name }: ServiceDefinition): void {
    for (const id of this.#byParent.of(parentKey(source, namespace, name))) this.#tellVerdict(id);
  }

  /** A Gateway became a waypoint, or is none any more. */
  gatewayChanged(namespace: string, name: string): void {
    for (const id of this.#byParent.of(parentKey("Gateway", namespace, name))) this.#tellVerdict(id);
  }

  #onRoute(before: RouteFacts | undefined, after: RouteFacts | undefined): void {
    const { id } = (after ?? before) as RouteFacts;
    if (
      before !== undefined &&
      after !== undefined &&
      before.uid === after.uid &&
      before.generation === after.generation
    ) {
      // Somebody wrote its status: what was decided of it holds, and what was made of its rules.
      this.#byId.set(id, { ...after, rules: before.rules } as RouteFacts);
      this.#tellVerdict(id);
      return;
    }
    if (before !== undefined) {
      for (const parent of before.parents) this.#byParent.remove(parent.key, id);
      for (const key of backendKeys(before)) this.#byBackend.remove(key, id);
    }
    if (after === undefined) this.#byId.delete(id);
    else this.#byId.set(id, after);
    if (after !== undefined) {
      for (const parent of after.parents) this.#byParent.add(parent.key, id);
      for (const key of backendKeys(after)) this.#byBackend.add(key, id);
    }
    for (const route of [before, after]) {
      if (route === undefined) continue;
      for (const parent of route.parents) this.#unsettle(parent.key);
      this.#tellServices(route);
    }
    // Last: who is told may ask at once, and must not get what was decided before.
    this.#tellVerdict(id);
  }

  /** Other routes there may win or lose. Looked at once for all changes of this turn: there may be thousands. */
  #unsettle(key: string): void {
    if (this.#unsettled.size === 0) queueMicrotask(() => this.#settle());
    const decided = this.#decided.get(key);
    const earlier = this.#unsettled.get(key);
    if (earlier === undefined) this.#unsettled.set(key, [decided ?? new Map()]);
    // Somebody asked in between, and may have told others.
    else if (decided !== undefined) earlier.push(decided);
    if (decided !== undefined) this.#earlier.set(key, decided);
    this.#decided.delete(key);
  }

  #settle(): void {
    for (const [key, before] of this.#unsettled) {
      const [kind = "", namespace = "", name = ""] = key.split("/");
      const [definition] = this.#definitions(kind === "ServiceEntry" ? kind : "Service", { namespace, name });
      if (definition === undefined || kind === "Gateway") continue;
      for (const { number } of definition.ports) {
        const is = this.#portRoutes(definition, number)?.inForce ?? NONE;
        for (const each of before) {
          const was = each.get(number)?.inForce ?? NONE;
          for (const id of was) if (!is.has(id)) this.#tellVerdict(id);
          for (const id of is) if (!was.has(id)) this.#tellVerdict(id);
        }
      }
    }
    this.#unsettled.clear();
  }

  /** The services that a route hangs on. */
  #tellServices(route: RouteFacts): void {
    for (const parent of route.parents) {
      const kind = serviceKindOf(parent);
      if (kind === undefined) continue;
      for (const { namespace, hostname } of this.#definitions(kind, parent)) {
        this.#options.onService?.(serviceKey(namespace, hostname));
      }
    }
  }

  #tellVerdict(id: string): void {
    this.#options.onRoute?.(id);
    const route = this.#byId.get(id);
    if (route !== undefined) this.#options.onVerdict?.(route.kind, `${route.namespace}/${route.name}`);
  }

  /** Undefined when somebody else has to judge. */
  #attachment(route: RouteFacts, parent: ParentRef): Attachment | undefined {
    const kind = serviceKindOf(parent);
    if (kind === undefined) return this.#gatewayAttachment(parent);
    const what = `${kind} ${parent.namespace}/${parent.name}`;
    const [definition] = this.#definitions(kind, parent);
    if (definition === undefined) return { state: "no such parent", message: `${what} does not exist` };
    const ports = definition.ports.filter((port) => selectsPort(parent, port));
    if (ports.length === 0) return { state: "no such parent", message: `${what} has no such port` };
    const enforced = this.#options.isBound(definition);
    if (route.rules.length === 0) return { state: "attached", enforced };
    const wins = ports.some(({ number }) => this.#portRoutes(definition, number)?.inForce.has(route.id) === true);
    if (wins) return { state: "attached", enforced };
    return { state: "conflicted", message: `on ${what} a route of another kind takes precedence` };
  }

  /** Waypoints take no routes for themselves: each of their services does. */
  #gatewayAttachment({ group, kind, namespace, name }: ParentRef): Attachment | undefined {
    if (group !== GATEWAY_GROUP || kind !== "Gateway" || !this.#options.isWaypoint(namespace, name)) return undefined;
    return { state: "not allowed", message: "a waypoint takes no routes; a Service that uses it must be the parent" };
  }

  #portRoutes(service: ServiceDefinition, port: number): PortRoutes | undefined {
    const key = parentKey(service.source, service.namespace, service.name);
    if (this.#byParent.of(key).size === 0) {
      this.#earlier.delete(key);
      return undefined;
    }
    let ports = this.#decided.get(key);
    if (ports === undefined) {
      ports = new Map();
      this.#decided.set(key, ports);
    }
    if (!ports.has(port)) ports.set(port, this.#decide(key, service, port));
    return ports.get(port);
  }

  #decide(key: string, service: ServiceDefinition, port: number): PortRoutes | undefined {
    const definition = service.ports.find(({ number }) => number === port);
    if (definition === undefined) return undefined;
    const ids = this.#byParent.of(key);
    const routes = [...ids]
      .map((id) => this.#byId.get(id))
      .filter((route) => route !== undefined)
      .filter(({ parents }) => parents.some((parent) => parent.key === key && selectsPort(parent, definition)));
    return portRoutes(routes, service.namespace, this.#earlier.get(key)?.get(port));
  }

  #definitions(
    kind: ServiceKind,
    { namespace, name }: Pick<ParentRef, "namespace" | "name">,
  ): readonly ServiceDefinition[] {
    const { services } = this.#options;
    if (kind === "ServiceEntry") return services.serviceEntry(namespace, name);
    const definition = services.service(namespace, name);
    return definition === undefined ? [] : [definition];
  }
}

const NONE: ReadonlySet<string> = new Set();
const NO_TLS: BeginsTls = () => false;

function selectsPort(parent: ParentRef, port: { readonly number: number; readonly name: string }): boolean {
  if (parent.port !== undefined && parent.port !== port.number) return false;
  return parent.sectionName === undefined || parent.sectionName === port.name;
}

function backendKeys(route: RouteFacts): Set<string> {
  const keys = new Set<string>();
  for (const ref of backendsOf(route)) {
    const key = backendKey(ref);
    if (key !== undefined) keys.add(key);
  }
  return keys;
}
