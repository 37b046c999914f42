/** What is said of a route in its status, parent by parent. */

import { describeProblems } from "../../model/fields.ts";
import type { ServiceLookup } from "../../model/service-lookup.ts";
import type { WantedCondition } from "../../status/status-writer.ts";
import { type BackendProblem, type BackendRef, type BeginsTls, resolveBackend } from "./backend-ref.ts";
import { INCOMPATIBLE_FILTERS } from "./http-filters.ts";
import type { ParentRef } from "./parent-ref.ts";
import type { ParentVerdict } from "./parent-status.ts";
import { type HttpFilters, isHttpRoute, type RouteFacts } from "./route-facts.ts";

/** What became of a route at one parent. */
export type Attachment =
  | { readonly state: "attached"; readonly enforced: boolean }
  | { readonly state: "no such parent"; readonly message: string }
  | { readonly state: "not allowed"; readonly message: string }
  | { readonly state: "conflicted"; readonly message: string };

export function parentVerdict(
  route: RouteFacts,
  parent: ParentRef,
  attachment: Attachment,
  services: ServiceLookup,
  beginsTls: BeginsTls,
): ParentVerdict {
  const accepted = acceptedCondition(route, attachment);
  const conditions = [accepted, resolvedCondition(route, services, beginsTls)];
  if (accepted.status === "True" && route.dropped.length > 0) {
    const message = `Dropped Rule: ${describeProblems(route.dropped)}`;
    conditions.push({ type: "PartiallyInvalid", status: "True", reason: "UnsupportedValue", message });
  }
  return { parent, conditions };
}

function acceptedCondition(route: RouteFacts, attachment: Attachment): WantedCondition {
  const no = (reason: string, message: string): WantedCondition => ({
    type: "Accepted",
    status: "False",
    reason,
    message,
  });
  if (route.refused.length > 0) {
    const filters = route.refused.some(({ reason }) => reason === INCOMPATIBLE_FILTERS);
    return no(filters ? "IncompatibleFilters" : "UnsupportedValue", describeProblems(route.refused));
  }
  switch (attachment.state) {
    case "no such parent":
      return no("NoMatchingParent", attachment.message);
    case "not allowed":
      return no("NotAllowedByListeners", attachment.message);
    case "conflicted":
      return no("Conflicted", attachment.message);
    case "attached":
      return { type: "Accepted", status: "True", reason: "Accepted", message: inForce(attachment.enforced) };
  }
}

/** A route is accepted without a waypoint too; whoever wrote it should not have to guess why nothing happens. */
function inForce(enforced: boolean): string {
  return enforced
    ? "the route is in force"
    : "the route is accepted, but the service is behind no waypoint: until it is, nobody in the mesh applies the route";
}

type RefProblem = BackendProblem | { readonly reason: "InvalidKind"; readonly message: string };

function resolvedCondition(route: RouteFacts, services: ServiceLookup, beginsTls: BeginsTls): WantedCondition {
  const problems = [...refProblems(route, services, beginsTls)];
  const [first] = problems;
  if (first === undefined) {
    return { type: "ResolvedRefs", status: "True", reason: "ResolvedRefs", message: "all references were found" };
  }
  const message = [...new Set(problems.map((problem) => problem.message))].join("; ");
  return { type: "ResolvedRefs", status: "False", reason: first.reason, message };
}

function* refProblems(route: RouteFacts, services: ServiceLookup, beginsTls: BeginsTls): Generator<RefProblem> {
  for (const ref of backendsOf(route)) {
    const { problem } = resolveBackend(ref, route.kind, services, beginsTls);
    if (problem !== undefined) yield problem;
  }
  if (!isHttpRoute(route)) return;
  for (const filters of filtersOf(route)) {
    if (filters.unknown === undefined) continue;
    yield { reason: "InvalidKind", message: `ExtensionRef ${filters.unknown} is of no kind that we know` };
  }
}

/** Everything that a route refers to. */
export function* backendsOf(route: RouteFacts): Generator<BackendRef> {
  if (!isHttpRoute(route)) {
    for (const rule of route.rules) yield* rule.backends;
    return;
  }
  for (const rule of route.rules) for (const { ref } of rule.backends) yield ref;
  for (const { mirrors, auth } of filtersOf(route)) {
    for (const { backend } of mirrors) yield backend;
    if (auth !== undefined) yield auth.backend;
  }
}

function* filtersOf(route: RouteFacts): Generator<HttpFilters> {
  if (!isHttpRoute(route)) return;
  for (const rule of route.rules) {
    yield rule.filters;
    for (const { filters } of rule.backends) yield filters;
  }
}
