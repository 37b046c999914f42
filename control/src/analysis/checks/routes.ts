/** Routes of the Gateway API for services, and the Gateways that are waypoints. */
import { type ParentRef, serviceKindOf } from "../../l7/gateway-api/parent-ref.ts";
import type { ParentVerdict } from "../../l7/gateway-api/parent-status.ts";
import type { RouteFacts, RouteKind } from "../../l7/gateway-api/route-facts.ts";
import { parentVerdict } from "../../l7/gateway-api/route-verdict.ts";
import { gatewayProblem, listenerProblem } from "../../model/gateway.ts";
import type { ServiceDefinition } from "../../model/service-definition.ts";
import type { WantedCondition } from "../../status/status-writer.ts";
import type { Code } from "../codes.ts";
import { type Surroundings, waypointOf } from "../surroundings.ts";
import type { Check, Say } from "./check.ts";

const CODE_OF_REASON: Readonly<Record<string, Code>> = {
  NoMatchingParent: "IST0101",
  BackendNotFound: "IST0101",
};

export function checkRoute(kind: RouteKind): Check {
  return ({ key, own, around }, say) => {
    const route = own.routes.collections[kind].get(key);
    if (route === undefined) return;
    const verdicts = (own === around ? around.routes.verdictsOf(kind, key) : undefined) ?? newcomer(route, around);
    for (const { conditions } of verdicts) for (const condition of conditions) tell(condition, say);
    for (const [index, parent] of route.parents.entries()) {
      const definitions = definitionsOf(parent, around);
      if (definitions.length === 0 || definitions.some((each) => waypointOf(around, each) !== undefined)) continue;
      const what = `${parent.kind} ${parent.namespace}/${parent.name}`;
      say(
        "IST0167",
        `${what} is behind no waypoint: until it is, nobody applies the route`,
        `spec.parentRefs[${index}]`,
      );
    }
  };
}

/** A route that is not among the others yet: nobody can say which of them wins. */
function newcomer(route: RouteFacts, around: Surroundings): ParentVerdict[] {
  return route.parents.flatMap((parent) => {
    if (serviceKindOf(parent) === undefined) return [];
    const exists = definitionsOf(parent, around).length > 0;
    const message = `${parent.kind} ${parent.namespace}/${parent.name} does not exist`;
    const attachment = exists
      ? ({ state: "attached", enforced: true } as const)
      : ({ state: "no such parent", message } as const);
    return [parentVerdict(route, parent, attachment, around.model.serviceLookup, around.world.beginsTls)];
  });
}

function definitionsOf(parent: ParentRef, { model }: Surroundings): readonly ServiceDefinition[] {
  const { namespace, name } = parent;
  const kind = serviceKindOf(parent);
  if (kind === undefined) return [];
  if (kind === "ServiceEntry") return model.serviceLookup.serviceEntry(namespace, name);
  const definition = model.serviceLookup.service(namespace, name);
  return definition === undefined ? [] : [definition];
}

/** What makes a route invalid by itself is told of as such, not once for each parent. */
function tell({ type, status, reason, message }: WantedCondition, say: Say): void {
  if (reason === "UnsupportedValue") say(type === "PartiallyInvalid" ? "IST0133" : "IST0106", message);
  else if (status === "False") say(CODE_OF_REASON[reason] ?? "IST0133", message);
}

export const checkGateway: Check = ({ key, own, around }, say) => {
  const gateway = own.model.gateways.get(key);
  if (gateway === undefined || around.model.waypoints.controllerOf(gateway.className) === undefined) return;
  const problem = gatewayProblem(gateway);
  if (problem !== undefined) say("IST0133", `This Gateway cannot be a waypoint: ${problem.message}`, "spec");
  for (const [index, listener] of gateway.listeners.entries()) {
    const why = listenerProblem(listener);
    if (why !== undefined) say("IST0133", `Listener "${listener.name}": ${why.message}`, `spec.listeners[${index}]`);
  }
};
