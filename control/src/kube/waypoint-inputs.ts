/** The kinds of objects that say something to waypoints alone: routes of the Gateway API, policies and token rules. */
import {
  AUTHORIZATION_POLICIES,
  GRPC_ROUTES,
  HTTP_ROUTES,
  REQUEST_AUTHENTICATIONS,
  type ResourceType,
  type RouteObject,
  TCP_ROUTES,
  TLS_ROUTES,
} from "#lib/kube/types.ts";
import { httpRouteFacts } from "../l7/gateway-api/http-route.ts";
import type { MeshRoutes } from "../l7/gateway-api/mesh-routes.ts";
import { ROUTE_KINDS, type RouteFacts, type RouteKind } from "../l7/gateway-api/route-facts.ts";
import { streamRouteFacts } from "../l7/gateway-api/stream-route.ts";
import { type RequestAuthenticationFacts, requestAuthenticationFacts } from "../l7/security/request-authentication.ts";
import type { WaypointPolicies } from "../l7/security/waypoint-policies.ts";
import { type WaypointPolicyFacts, waypointPolicyFacts } from "../l7/security/waypoint-policy.ts";
import { Accepted, type Verdict } from "../model/accepted.ts";
import { builtIn, type Input, istio } from "./inputs.ts";

export const ROUTE_TYPES: { readonly [K in RouteKind]: ResourceType<RouteObject> } = {
  GRPCRoute: GRPC_ROUTES,
  HTTPRoute: HTTP_ROUTES,
  TLSRoute: TLS_ROUTES,
  TCPRoute: TCP_ROUTES,
};

/** Told of every version of a policy that was read. Facts are undefined where it is not for waypoints. */
export interface WaypointVerdicts {
  waypointPolicy(verdict: Verdict<WaypointPolicyFacts>): void;
  requestAuthentication(verdict: Verdict<RequestAuthenticationFacts>): void;
}

export function waypointInputs(
  routes: MeshRoutes,
  policies: WaypointPolicies,
  rootNamespace: string,
  verdicts: WaypointVerdicts,
): Input[] {
  const routeInputs = ROUTE_KINDS.map((kind): Input => {
    const read = (object: RouteObject): RouteFacts =>
      kind === "HTTPRoute" || kind === "GRPCRoute" ? httpRouteFacts(kind, object) : streamRouteFacts(kind, object);
    return { ...builtIn(ROUTE_TYPES[kind], routes.collections[kind], read), optional: true };
  });
  return [
    ...routeInputs,
    istio(
      AUTHORIZATION_POLICIES,
      new Accepted(
        policies.authorizationPolicies,
        (object, problems) => waypointPolicyFacts(object, rootNamespace, problems),
        verdicts.waypointPolicy,
      ),
    ),
    istio(
      REQUEST_AUTHENTICATIONS,
      new Accepted(
        policies.requestAuthentications,
        (object, problems) => requestAuthenticationFacts(object, rootNamespace, problems),
        verdicts.requestAuthentication,
      ),
    ),
  ];
}
