/** Which of the routes that hang on one port of a service are in force, and for whom. */
import { byAge, compareText } from "../../model/meta.ts";
import { type Candidate, inPrecedence } from "./precedence.ts";
import { isHttpRoute, ROUTE_KINDS, type RouteFacts, type RouteKind } from "./route-facts.ts";

/** Kinds that can share a port, seen from a client. */
export type Family = "http" | "tls" | "tcp";

/** Routes of one kind for the same clients. */
export interface RouteGroup {
  /** Only clients of this namespace; undefined: all others. */
  readonly consumers: string | undefined;
  readonly kind: RouteKind;
  /** Oldest first. */
  readonly routes: readonly RouteFacts[];
  /** Matches of HTTPRoutes or GRPCRoutes, in the order in which they are tried. */
  readonly candidates: readonly Candidate[];
}

export interface PortRoutes {
  readonly family: Family;
  /** Consumers first, by namespace. */
  readonly groups: readonly RouteGroup[];
  /** Ids of the routes in `groups`. */
  readonly inForce: ReadonlySet<string>;
}

/**
 * Routes in the namespace of the service are for everybody; those elsewhere are for clients of their own namespace, who
 * then see nothing of the others. On each side the highest kind wins; and since a port either is or is not looked into,
 * the highest of all sides decides that. Undefined when there is none. `before` is what it was when some of the routes
 * were others.
 */
export function portRoutes(
  routes: readonly RouteFacts[],
  serviceNamespace: string,
  before?: PortRoutes,
): PortRoutes | undefined {
  const sides = new Map<string, RouteFacts[]>();
  for (const route of routes) {
    if (route.rules.length === 0) continue;
    const side = route.namespace === serviceNamespace ? "" : route.namespace;
    const others = sides.get(side);
    if (others === undefined) sides.set(side, [route]);
    else others.push(route);
  }
  const winners = [...sides].map(([side, all]) => groupOf(side === "" ? undefined : side, all, before));
  const family = (["http", "tls", "tcp"] as const).find((each) => winners.some(({ kind }) => familyOf(kind) === each));
  if (family === undefined) return undefined;
  const groups = winners.filter(({ kind }) => familyOf(kind) === family).sort(consumersFirst);
  return { family, groups, inForce: new Set(groups.flatMap((group) => group.routes.map(({ id }) => id))) };
}

function groupOf(consumers: string | undefined, all: readonly RouteFacts[], before?: PortRoutes): RouteGroup {
  const kind = ROUTE_KINDS.find((each) => all.some((route) => route.kind === each)) ?? "TCPRoute";
  const routes = all.filter((route) => route.kind === kind).sort(byAge);
  const earlier = before?.groups.find((group) => group.consumers === consumers && group.kind === kind);
  return { consumers, kind, routes, candidates: inPrecedence(routes.filter(isHttpRoute), earlier?.candidates) };
}

function familyOf(kind: RouteKind): Family {
  if (kind === "TLSRoute") return "tls";
  return kind === "TCPRoute" ? "tcp" : "http";
}

function consumersFirst(a: RouteGroup, b: RouteGroup): number {
  if (a.consumers === undefined || b.consumers === undefined) return a.consumers === undefined ? 1 : -1;
  return compareText(a.consumers, b.consumers);
}
