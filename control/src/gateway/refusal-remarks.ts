/** Which objects a waypoint's refusals are about: whoever wrote one should not have to read the Gateway's status. */
import { L7_TYPE_PREFIX } from "#lib/xds/types.ts";
import type { ObjectId, Remark } from "../status/remarks.ts";
import { PROGRAM_ACCEPTED } from "./program-accepted.ts";
import type { Refusal } from "./program-answers.ts";

/** What the engine says of limits that it cannot compile. */
const RATE_LIMITS = "rate limits: ";

/** What parts of a program are made of. Only these are spoken of, whatever a waypoint says. */
export interface ProgramOrigins {
  ofCluster(name: string): readonly ObjectId[];
  ofDestination(name: string): readonly ObjectId[];
  ofRouteGroup(name: string): readonly ObjectId[];
  ofTelemetry(name: string): readonly ObjectId[];
  /** EnvoyFilters whose rate limits are in a Destination. */
  ofLimits(destination: string): readonly ObjectId[];
}

export function refusalRemarks(gateway: string, refusals: readonly Refusal[], origins: ProgramOrigins): Remark[] {
  const told = new Map<string, Remark>();
  for (const { type, name, reason } of refusals) {
    for (const object of objectsOf(type.slice(L7_TYPE_PREFIX.length), name, reason, origins)) {
      const message = `waypoint ${gateway} cannot run it (${reason}); what was in force before stays`;
      const condition = { type: PROGRAM_ACCEPTED, status: "False", reason: "ResourcesRefused", message } as const;
      // Each of its pods says the same.
      told.set(`${object} ${message}`, { object, condition });
    }
  }
  return [...told.values()];
}

function objectsOf(type: string, name: string, reason: string, origins: ProgramOrigins): readonly ObjectId[] {
  const [namespace = "", own = ""] = name.split("/");
  switch (type) {
    case "Policy":
      return [`AuthorizationPolicy/${namespace}/${own}`];
    case "Jwt":
      return [`RequestAuthentication/${namespace}/${own}`];
    case "Cluster":
      return origins.ofCluster(name);
    case "Telemetry":
      return origins.ofTelemetry(name);
    // The engine names the route that it cannot compile.
    case "Destination":
      return [
        ...origins.ofDestination(name).filter((origin) => reason.includes(` of ${origin}: `)),
        ...(reason.includes(RATE_LIMITS) ? origins.ofLimits(name) : []),
      ];
    case "RouteGroup":
      return origins.ofRouteGroup(name).filter((origin) => reason.includes(` of ${origin}: `));
    default:
      return [];
  }
}
