/** Rules of HTTPRoutes and GRPCRoutes as routes of the L7 program. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type DirectResponse,
  DirectResponseSchema,
  ExternalAuthorizerSchema,
  type Forward,
  ForwardSchema,
  type Redirect,
  Redirect_PortMode,
  RedirectSchema,
  RetryOn,
  type RetryPolicy,
  RetryPolicySchema,
  type Route,
  RouteSchema,
  StringMatchSchema,
  type WeightedClusterSchema,
} from "#proto/l7_pb.ts";
import type { BackendRef } from "./backend-ref.ts";
import type { RouteGroup } from "./port-routes.ts";
import type { Candidate } from "./precedence.ts";
import type {
  ExternalAuth,
  HttpBackend,
  HttpFilters,
  HttpRouteFacts,
  HttpRule,
  RankedMatch,
  RedirectFilter,
} from "./route-facts.ts";
import { clusterOf, type RoutingContext } from "./routing-context.ts";

/** What a request gets that goes to a backend which does not exist. gRPC clients see 503 as UNAVAILABLE. */
const UNAVAILABLE_STATUS = { HTTPRoute: 500, GRPCRoute: 503 } as const;
const NOT_FOUND = 404;
const DEFAULT_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443 };
/** Connections of the mesh come in the clear, once the tunnel is taken off. */
const MESH_SCHEME = "http";

/** One route of a port, for whoever has not compiled it yet. */
export interface HttpCandidate {
  /** What it is made of, beside its place: the same object as long as nothing of that changes. */
  readonly source: object;
  /** Where it is: of what has one source, one for each. */
  readonly place: string;
  compile(context: RoutingContext): Route;
}

/** Routes of one port, complete and in the order in which they are tried: what none of them matches is answered with 404. */
export function httpRouting(groups: readonly RouteGroup[], port: number): HttpCandidate[] {
  return groups.flatMap((group) => {
    const { consumers = "" } = group;
    const place = `${port} ${consumers}`;
    const own = group.candidates.map((candidate) => new RouteCandidate(candidate, consumers, port, place));
    if (group.consumers === undefined) return own;
    return [...own, { source: group, place, compile: () => nothingElseFor(consumers) }];
  });
}

class RouteCandidate implements HttpCandidate {
  readonly source: RankedMatch;
  readonly place: string;
  readonly #candidate: Candidate;
  readonly #consumers: string;
  readonly #port: number;

  constructor(candidate: Candidate, consumers: string, port: number, place: string) {
    // Every rule has at least one match.
    this.source = candidate.rule.matches[candidate.matchIndex] as RankedMatch;
    this.place = place;
    this.#candidate = candidate;
    this.#consumers = consumers;
    this.#port = port;
  }

  compile(context: RoutingContext): Route {
    const { route, rule } = this.#candidate;
    const match = { ...this.source.match, sourceNamespace: this.#consumers };
    return { ...ruleBody(route, rule, this.#port, context), match };
  }
}

/** Consumers who have routes of their own do not see those of the service. */
function nothingElseFor(consumers: string): Route {
  return create(RouteSchema, {
    name: `${consumers}.no-match`,
    match: { sourceNamespace: consumers },
    action: { case: "direct", value: create(DirectResponseSchema, { status: NOT_FOUND, flag: "NR" }) },
  });
}

/** All of a route but its match. */
function ruleBody(route: HttpRouteFacts, rule: HttpRule, port: number, context: RoutingContext): Route {
  const { filters } = rule;
  const body: MessageInitShape<typeof RouteSchema> = {
    name: `${route.namespace}.${route.name}.${rule.name}`,
    origin: route.id,
    ...headersOf(filters),
    ...(filters.cors === undefined ? {} : { cors: filters.cors }),
  };
  const authorizer = filters.auth && authorizerOf(filters.auth, route, context);
  if (filters.unknown !== undefined || authorizer === "nowhere") {
    return create(RouteSchema, { ...body, action: { case: "direct", value: failure() } });
  }
  if (filters.redirect !== undefined) {
    const value = redirectOf(filters.redirect, port);
    return create(RouteSchema, { ...body, ...(authorizer && { authorizer }), action: { case: "redirect", value } });
  }
  const value = forward(route, rule, port, context);
  return create(RouteSchema, { ...body, ...(authorizer && { authorizer }), action: { case: "forward", value } });
}

/** A filter that cannot do its work is never skipped. */
function failure(): DirectResponse {
  return create(DirectResponseSchema, { status: 500 });
}

function headersOf({ requestHeaders, responseHeaders }: HttpFilters) {
  return {
    ...(requestHeaders === undefined ? {} : { requestHeaders }),
    ...(responseHeaders === undefined ? {} : { responseHeaders }),
  };
}

function forward(route: HttpRouteFacts, rule: HttpRule, port: number, context: RoutingContext): Forward {
  const { requestMs, backendRequestMs } = rule.timeouts;
  const retry = retryOf(rule, context);
  // Without retries one attempt is all there is.
  const limits = retry === undefined ? [requestMs, backendRequestMs] : [requestMs];
  const timeoutMs = Math.min(...limits.map((limit) => (limit === 0 ? Number.POSITIVE_INFINITY : limit)));
  return create(ForwardSchema, {
    clusters: rule.backends.map((backend) => weighted(route, rule, backend, port, context)),
    ...(rule.filters.rewrite === undefined ? {} : { rewrite: rule.filters.rewrite }),
    timeoutMs: BigInt(Number.isFinite(timeoutMs) ? timeoutMs : 0),
    ...(retry === undefined ? {} : { retry }),
    mirrors: mirrorsOf(route, rule.filters, context),
    unavailableStatus: UNAVAILABLE_STATUS[route.kind],
  });
}

function weighted(
  route: HttpRouteFacts,
  rule: HttpRule,
  { ref, filters }: HttpBackend,
  port: number,
  context: RoutingContext,
): MessageInitShape<typeof WeightedClusterSchema> {
  const redirect = filters.redirect && redirectOf(filters.redirect, port);
  return {
    cluster: filters.unknown === undefined ? cluster(ref, route, context, rule) : "",
    weight: ref.weight,
    ...headersOf(filters),
    ...(filters.rewrite === undefined ? {} : { rewrite: filters.rewrite }),
    ...(redirect === undefined ? {} : { redirect }),
    mirrors: mirrorsOf(route, filters, context),
  };
}

function cluster(ref: BackendRef, route: HttpRouteFacts, context: RoutingContext, rule?: HttpRule): string {
  return clusterOf(ref, route.kind, context, {
    ...(rule?.session === undefined ? {} : { session: rule.session }),
    ...(route.kind === "GRPCRoute" ? { grpc: true } : {}),
  });
}

/** A mirror that leads nowhere is left out: it must not harm the request. */
function mirrorsOf(route: HttpRouteFacts, { mirrors }: HttpFilters, context: RoutingContext) {
  return mirrors
    .map(({ backend, sharePpm }) => ({ cluster: cluster(backend, route, context), sharePpm }))
    .filter((mirror) => mirror.cluster !== "" && mirror.sharePpm > 0);
}

/** Only what the backend surely has not begun is tried again, unless its answer is one of the codes. */
function retryOf({ retry, timeouts }: HttpRule, { defaultRetry }: RoutingContext): RetryPolicy | undefined {
  const perTryTimeoutMs = BigInt(timeouts.backendRequestMs);
  if (retry === undefined) return defaultRetry && create(RetryPolicySchema, { ...defaultRetry, perTryTimeoutMs });
  if (retry.attempts === 0) return undefined;
  const { attempts, codes, backoffMs } = retry;
  return create(RetryPolicySchema, {
    attempts,
    codes: [...codes],
    on: [
      RetryOn.CONNECT_FAILURE,
      RetryOn.REFUSED_STREAM,
      RetryOn.RESET_BEFORE_REQUEST,
      ...(codes.length > 0 ? [RetryOn.RETRIABLE_STATUS_CODES] : []),
      ...(timeouts.backendRequestMs > 0 ? [RetryOn.PER_TRY_TIMEOUT] : []),
    ],
    perTryTimeoutMs,
    backoffMinMs: BigInt(backoffMs),
  });
}

/** The port is the one asked for, else the scheme's, else the one that the client used; a scheme's own is left out. */
function redirectOf({ redirect, scheme, port }: RedirectFilter, listenerPort: number): Redirect {
  const target = port ?? (scheme === undefined ? listenerPort : DEFAULT_PORTS[scheme]);
  const plain = target === DEFAULT_PORTS[scheme ?? MESH_SCHEME];
  return create(RedirectSchema, {
    ...redirect,
    ...(plain || target === undefined ? { portMode: Redirect_PortMode.BY_SCHEME } : { port: target }),
  });
}

/** What an HTTP authorizer is shown in any case. */
const BASIC_HEADERS = ["authorization"];
const AUTHORIZER_TIMEOUT_MS = 10_000n;

/** "nowhere": who is to be asked does not exist, so nobody may pass. */
function authorizerOf(auth: ExternalAuth, route: HttpRouteFacts, context: RoutingContext) {
  const name = clusterOf(auth.backend, route.kind, context, auth.grpc ? { grpc: true } : {});
  if (name === "") return "nowhere";
  const exact = (value: string) => create(StringMatchSchema, { kind: { case: "exact", value }, ignoreCase: true });
  const headers = auth.grpc ? auth.allowedHeaders : [...BASIC_HEADERS, ...auth.allowedHeaders];
  return create(ExternalAuthorizerSchema, {
    provider: `${route.id}/ExternalAuth`,
    cluster: name,
    grpc: auth.grpc,
    timeoutMs: AUTHORIZER_TIMEOUT_MS,
    pathPrefix: auth.path,
    authority: auth.backend.name,
    includeRequestHeaders: headers.map(exact),
    headersToUpstreamOnAllow: responseHeaders(auth).map(exact),
    bodyMaxBytes: auth.bodyMaxBytes,
  });
}

function responseHeaders({ grpc, allowedResponseHeaders }: ExternalAuth): readonly string[] {
  return grpc ? [] : allowedResponseHeaders;
}
