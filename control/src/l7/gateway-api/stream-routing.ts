/** TLSRoutes and TCPRoutes as routes of the L7 program. */
import { create } from "@bufbuild/protobuf";
import { type TcpRoute, TcpRouteSchema, type TlsRoute, TlsRouteSchema } from "#proto/l7_pb.ts";
import type { RouteGroup } from "./port-routes.ts";
import { inSniPrecedence } from "./precedence.ts";
import type { RouteFacts, StreamRouteFacts } from "./route-facts.ts";
import { clusterOf, type RoutingContext } from "./routing-context.ts";

const ANY_SNI = "*";

/** A server name that no route matches is refused: the last route takes the rest and leads nowhere. */
export function tlsRouting(groups: readonly RouteGroup[], context: RoutingContext): TlsRoute[] {
  return groups.flatMap(({ consumers = "", routes }) => {
    const own = inSniPrecedence(routes.filter(isStreamRoute)).map(({ route, sni }) =>
      create(TlsRouteSchema, { sni: [sni], route: streamRoute(route, consumers, context) }),
    );
    const rest = create(TcpRouteSchema, { origin: "no TLSRoute matches", sourceNamespace: consumers });
    return [...own, create(TlsRouteSchema, { sni: [ANY_SNI], route: rest })];
  });
}

/** Several routes may be accepted for one port, but only the oldest carries traffic. */
export function tcpRouting(groups: readonly RouteGroup[], context: RoutingContext): TcpRoute[] {
  return groups.flatMap(({ consumers = "", routes }) => {
    const [oldest] = routes.filter(isStreamRoute);
    return oldest === undefined ? [] : [streamRoute(oldest, consumers, context)];
  });
}

function isStreamRoute(route: RouteFacts): route is StreamRouteFacts {
  return route.kind === "TLSRoute" || route.kind === "TCPRoute";
}

function streamRoute(route: StreamRouteFacts, sourceNamespace: string, context: RoutingContext): TcpRoute {
  const backends = route.rules[0]?.backends ?? [];
  return create(TcpRouteSchema, {
    clusters: backends.map((ref) => ({ cluster: clusterOf(ref, route.kind, context), weight: ref.weight })),
    origin: route.id,
    sourceNamespace,
  });
}
