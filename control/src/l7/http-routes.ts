/** A VirtualService's http rule as the routes of one port. */
import { create } from "@bufbuild/protobuf";
import {
  ForwardSchema,
  HeaderMatchSchema,
  type HttpMatch,
  HttpMatchSchema,
  MirrorSchema,
  type RetryPolicy,
  RetryPolicySchema,
  type Rewrite,
  type Route,
  RouteSchema,
  type WeightedCluster,
  WeightedClusterSchema,
} from "#proto/l7_pb.ts";
import type { HostPort, HttpMatchFacts, HttpRuleFacts, RouteDestination, RuleTraits } from "./istio/http-rule.ts";
import { MESH_GATEWAY } from "./istio/virtual-service.ts";

export interface RouteContext {
  /** The service's. */
  readonly port: number;
  /** `VirtualService/namespace/name`. */
  readonly origin: string;
  /** When a rule says nothing; null: never. */
  readonly retry: RetryPolicy | null;
  cluster(target: HostPort): string;
  /** Requests of one key go to one endpoint there. */
  hashes(target: HostPort): boolean;
}

/** Whether a rule says anything about a port of the mesh. */
export function matchesOf(rule: HttpRuleFacts, port: number): readonly HttpMatchFacts[] | undefined {
  if (rule.matches.length === 0) return [];
  const kept = rule.matches.filter((match) => countsInMesh(match) && (match.port ?? port) === port);
  return kept.length === 0 ? undefined : kept;
}

/** A waypoint does not know the labels of its clients; with gateways they do not count. */
export function countsInMesh(match: { readonly gateways: readonly string[]; readonly sourceLabels: object }): boolean {
  if (match.gateways.length > 0) return match.gateways.includes(MESH_GATEWAY);
  return Object.keys(match.sourceLabels).length === 0;
}

/** One for each match. */
export function compileHttpRule(rule: HttpRuleFacts, context: RouteContext): Route[] {
  const matches = matchesOf(rule, context.port);
  if (matches === undefined) return [];
  if (matches.length === 0) return [compileRoute(rule, undefined, context)];
  return matches.map((match) => compileRoute(rule, match, context));
}

function compileRoute(rule: HttpRuleFacts, match: HttpMatchFacts | undefined, context: RouteContext): Route {
  const { traits, action } = rule;
  const route = create(RouteSchema, {
    name: [rule.name, match?.name ?? ""].filter((name) => name !== "").join(".") || "default",
    origin: context.origin,
    ...(match === undefined ? {} : { match: compileMatch(match) }),
    ...(traits.requestHeaders === undefined ? {} : { requestHeaders: traits.requestHeaders }),
    ...(traits.responseHeaders === undefined ? {} : { responseHeaders: traits.responseHeaders }),
    ...(traits.fault === undefined ? {} : { fault: traits.fault }),
    ...(traits.cors === undefined ? {} : { cors: traits.cors }),
  });
  if (action.kind === "redirect") route.action = { case: "redirect", value: action.redirect };
  else if (action.kind === "direct") route.action = { case: "direct", value: action.direct };
  else if (action.kind === "route")
    route.action = { case: "forward", value: forward(action.destinations, traits, match, context) };
  return route;
}

function compileMatch(match: HttpMatchFacts): HttpMatch {
  const header =
    (invert: boolean) =>
    ([name, value]: [string, HttpMatchFacts["headers"][string]]) =>
      create(HeaderMatchSchema, { name, value, invert });
  return create(HttpMatchSchema, {
    ...(match.path === undefined ? {} : { path: match.path }),
    ...(match.scheme === undefined ? {} : { scheme: match.scheme }),
    ...(match.method === undefined ? {} : { method: match.method }),
    ...(match.authority === undefined ? {} : { authority: match.authority }),
    headers: [
      ...Object.entries(match.headers).map(header(false)),
      ...Object.entries(match.withoutHeaders).map(header(true)),
    ],
    query: Object.entries(match.query).map(([name, value]) => ({ name, value })),
    claims: match.claims.map(({ path, value }) => ({ path: [...path], value })),
    sourceNamespace: match.gateways.length > 0 ? "" : (match.sourceNamespace ?? ""),
  });
}

function forward(
  destinations: readonly RouteDestination[],
  traits: RuleTraits,
  match: HttpMatchFacts | undefined,
  context: RouteContext,
) {
  const rewrite = traits.rewrite && rewriteFor(traits.rewrite, match);
  const retry = retryOf(destinations, traits, context);
  return create(ForwardSchema, {
    clusters: destinations.map((destination) => weighted(destination, rewrite, context)),
    ...(rewrite === undefined ? {} : { rewrite }),
    timeoutMs: BigInt(traits.timeoutMs ?? 0),
    ...(retry === null ? {} : { retry }),
    mirrors: (traits.mirrors ?? []).map((mirror) =>
      create(MirrorSchema, { cluster: context.cluster(mirror), sharePpm: mirror.sharePpm }),
    ),
  });
}

/** Of a regular expression, the whole path was matched. */
function rewriteFor(rewrite: Rewrite, match: HttpMatchFacts | undefined): Rewrite {
  if (rewrite.path.case !== "prefix" && rewrite.path.case !== "full") return rewrite;
  const { value } = rewrite.path;
  const whole = match?.path?.kind.case === "regex";
  return { ...rewrite, path: whole ? { case: "full", value } : { case: "prefix", value } };
}

function weighted(destination: RouteDestination, rewrite: Rewrite | undefined, context: RouteContext): WeightedCluster {
  const { weight, requestHeaders, responseHeaders, authority } = destination;
  return create(WeightedClusterSchema, {
    cluster: context.cluster(destination),
    weight,
    ...(requestHeaders === undefined ? {} : { requestHeaders }),
    ...(responseHeaders === undefined ? {} : { responseHeaders }),
    // The route's own authority wins.
    ...(authority === undefined || (rewrite?.authority ?? "") !== "" ? {} : { rewrite: { authority } }),
  });
}

function retryOf(
  destinations: readonly RouteDestination[],
  traits: RuleTraits,
  context: RouteContext,
): RetryPolicy | null {
  const retry = traits.retry === undefined ? context.retry : traits.retry;
  const [only, ...others] = destinations;
  if (retry === null || traits.retryIgnorePreviousHosts !== undefined) return retry;
  if (only === undefined || others.length > 0 || !context.hashes(only)) return retry;
  // Another endpoint would not have what the hash stands for.
  return create(RetryPolicySchema, { ...retry, avoidPreviousHosts: false });
}
