/** What is kept of a route of any kind: all that can be told without looking at other objects. */
import type { RouteObject, RouteParentStatus } from "#lib/kube/types.ts";
import type { Cors, HeaderOps, HttpMatch, Redirect, Rewrite, SessionPersistence } from "#proto/l7_pb.ts";
import type { Problem } from "../../model/fields.ts";
import type { Meta } from "../../model/meta.ts";
import type { BackendRef } from "./backend-ref.ts";
import type { ParentRef } from "./parent-ref.ts";

/** In the order of their precedence on one port of a service. */
export const ROUTE_KINDS = ["GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute"] as const;
export type RouteKind = (typeof ROUTE_KINDS)[number];

export type RouteFacts = HttpRouteFacts | StreamRouteFacts;

/** Which version of which object was read. */
export interface RouteVersion {
  readonly uid: string;
  readonly generation: number;
  /** `status.parents` as it was then. */
  readonly reported: readonly RouteParentStatus[];
}

interface CommonFacts extends Meta, RouteVersion {
  /** `routeId` of it. */
  readonly id: string;
  readonly parents: readonly ParentRef[];
  /** Why nothing of the route is in force. */
  readonly refused: readonly Problem[];
  /** Why some of its rules are not. */
  readonly dropped: readonly Problem[];
}

export interface HttpRouteFacts extends CommonFacts {
  readonly kind: "HTTPRoute" | "GRPCRoute";
  readonly rules: readonly HttpRule[];
}

export interface StreamRouteFacts extends CommonFacts {
  readonly kind: "TLSRoute" | "TCPRoute";
  /** Empty for a TCPRoute. */
  readonly sni: readonly string[];
  readonly rules: readonly StreamRule[];
}

export interface StreamRule {
  readonly backends: readonly BackendRef[];
}

export interface HttpRule {
  /** The user's, else its index. */
  readonly name: string;
  readonly index: number;
  /** ORed; never empty. */
  readonly matches: readonly RankedMatch[];
  readonly filters: HttpFilters;
  readonly backends: readonly HttpBackend[];
  readonly timeouts: RuleTimeouts;
  /** Absent: not said. */
  readonly retry?: RuleRetry;
  readonly session?: SessionPersistence;
}

export interface RankedMatch {
  readonly match: HttpMatch;
  /** How much it asks for: compared number by number, the greater first. All of one kind of route are equally long. */
  readonly rank: readonly number[];
}

export interface HttpBackend {
  readonly ref: BackendRef;
  readonly filters: HttpFilters;
}

/** Of a rule or of one backend. */
export interface HttpFilters {
  readonly requestHeaders?: HeaderOps;
  readonly responseHeaders?: HeaderOps;
  readonly redirect?: RedirectFilter;
  readonly rewrite?: Rewrite;
  readonly mirrors: readonly MirrorFilter[];
  readonly cors?: Cors;
  readonly auth?: ExternalAuth;
  /** A filter that nobody knows: requests must fail, for what it would have done is not done. */
  readonly unknown?: string;
}

/** Scheme and port are settled when the port that the route hangs on is known. */
export interface RedirectFilter {
  readonly redirect: Redirect;
  readonly scheme?: string;
  readonly port?: number;
}

export interface MirrorFilter {
  readonly backend: BackendRef;
  readonly sharePpm: number;
}

export interface ExternalAuth {
  readonly backend: BackendRef;
  readonly grpc: boolean;
  readonly path: string;
  /** Lower case; empty: all (gRPC) or the basic ones (HTTP). */
  readonly allowedHeaders: readonly string[];
  readonly allowedResponseHeaders: readonly string[];
  readonly bodyMaxBytes: number;
}

export interface RuleTimeouts {
  /** 0: none. */
  readonly requestMs: number;
  readonly backendRequestMs: number;
}

export interface RuleRetry {
  /** 0: off. */
  readonly attempts: number;
  readonly codes: readonly number[];
  readonly backoffMs: number;
}

export function isHttpRoute(route: RouteFacts): route is HttpRouteFacts {
  return route.kind === "HTTPRoute" || route.kind === "GRPCRoute";
}

/** `kind/namespace/name`: unique among routes, and how people are told of one. */
export function routeId(route: { readonly kind: string; readonly namespace: string; readonly name: string }): string {
  return `${route.kind}/${route.namespace}/${route.name}`;
}

export function versionOf({ metadata, status }: RouteObject): RouteVersion {
  const reported: unknown = status?.parents;
  return {
    uid: metadata.uid ?? "",
    generation: metadata.generation ?? 0,
    // The schema of a status is open: anybody may have written anything.
    reported: Array.isArray(reported) ? reported.filter((entry) => typeof entry === "object" && entry !== null) : [],
  };
}
