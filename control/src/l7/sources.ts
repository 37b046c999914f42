/** What a waypoint's program takes from the Gateway API and from the policies that are for it. */
import type { MeshRoutes } from "./gateway-api/mesh-routes.ts";
import type { WaypointPolicies } from "./security/waypoint-policies.ts";

/** What it gives for a port is complete: VirtualServices say nothing there. */
export type RouteSource = Pick<MeshRoutes, "routesFor">;

export type PolicySource = Pick<WaypointPolicies, "policiesFor" | "jwtFor" | "policy" | "jwt">;
