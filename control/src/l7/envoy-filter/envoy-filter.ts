/**
 * EnvoyFilter: of all that it can change of Envoy, a waypoint has the two rate limits. Everything else is refused, and a
 * filter of which something is refused has no effect.
 */
import type { IstioObject } from "#lib/kube/types.ts";
import type { LocalRateLimit, RateLimitDescriptor } from "#proto/l7_pb.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import { type Meta, metaOf } from "../../model/meta.ts";
import { readTargets, type Target } from "../security/policy-target.ts";
import { GLOBAL_FILTER, type RateLimitService, readRateLimitService, readRateLimits } from "./global-rate-limit.ts";
import { LOCAL_FILTER, readLocalRateLimit } from "./local-rate-limit.ts";

/** Where a patch counts; undefined: everywhere. */
export interface PatchScope {
  readonly port: number | undefined;
  /** Of routes: all, or the one of this name. Undefined: of the chain. */
  readonly route: { readonly name: string | undefined } | undefined;
}

export interface LimitPatch {
  readonly scope: PatchScope;
  readonly local?: LocalRateLimit;
  /** Of `local`, in place of what virtual hosts and routes say. */
  readonly localActions?: readonly RateLimitDescriptor[];
  readonly service?: RateLimitService;
  readonly descriptors?: readonly RateLimitDescriptor[];
}

export interface EnvoyFilterFacts extends Meta {
  readonly targets: readonly Target[];
  /** Low ones first. */
  readonly priority: number;
  readonly patches: readonly LimitPatch[];
}

const MAX_PRIORITY = 0x7fff_ffff;
/** Those of them that a waypoint's traffic has. */
const CONTEXTS = ["ANY", "WAYPOINT", "SIDECAR_INBOUND"] as const;
const MANAGER = "envoy.filters.network.http_connection_manager";
const INSERTS = ["INSERT_BEFORE", "INSERT_FIRST", "INSERT_AFTER", "ADD"] as const;
/** As Istio calls the virtual host of a waypoint's port. */
const VHOST = /^inbound\|http\|(\d{1,5})$/;
const EVERYWHERE: PatchScope = { port: undefined, route: undefined };

export function envoyFilterFacts(object: IstioObject, rootNamespace: string, problems: Problem[]): EnvoyFilterFacts {
  const meta = metaOf(object);
  const before = problems.length;
  const fields = new Fields(object.spec, "spec", problems);
  const targets = readTargets(fields, meta.namespace, rootNamespace);
  if (fields.has("workloadSelector")) {
    fields.problem("workloadSelector", "selects sidecars and gateways, which are not here: waypoints have targetRefs");
  } else if (targets === undefined) {
    fields.problem("targetRefs", "are required: only waypoints are changed, and no other way");
  }
  const priority = fields.integer("priority", -MAX_PRIORITY, MAX_PRIORITY) ?? 0;
  const patches = fields.objects("configPatches").flatMap(readPatch);
  fields.refuseUnknown();
  // Half of a filter is another filter.
  return { ...meta, targets: targets ?? [], priority, patches: problems.length > before ? [] : patches };
}

function readPatch(fields: Fields): LimitPatch[] {
  const kind = fields.string("applyTo") ?? "";
  const match = fields.object("match");
  match?.oneOf("context", CONTEXTS);
  const patch = fields.object("patch");
  fields.refuseUnknown();
  switch (kind) {
    case "HTTP_FILTER":
      return readFilter(match, patch);
    case "VIRTUAL_HOST":
    case "HTTP_ROUTE":
      return readRoutes(kind, match, patch);
    default:
      fields.problem(
        "applyTo",
        `"${kind}" is not supported: only rate limits by HTTP_FILTER, VIRTUAL_HOST and HTTP_ROUTE`,
      );
      return [];
  }
}

function readFilter(match: Fields | undefined, patch: Fields | undefined): LimitPatch[] {
  const listener = match?.object("listener");
  const port = listener?.integer("portNumber", 1, 65_535);
  const chain = listener?.object("filterChain");
  const filter = chain?.object("filter");
  const name = filter?.string("name");
  if (name !== undefined && name !== MANAGER) filter?.problem("name", `must be ${MANAGER}`);
  const sub = filter?.object("subFilter");
  sub?.string("name");
  for (const each of [sub, filter, chain, listener, match]) each?.refuseUnknown();
  patch?.oneOf("operation", INSERTS);
  const value = patch?.object("value");
  patch?.refuseUnknown();
  const wanted = value?.string("name") ?? "";
  const typed = value?.object("typed_config");
  value?.refuseUnknown();
  const scope = { ...EVERYWHERE, port };
  if (value === undefined || typed === undefined) {
    patch?.problem("value", "must have a typed_config");
    return [];
  }
  if (wanted === LOCAL_FILTER) {
    return localPatches(scope, typed);
  }
  if (wanted === GLOBAL_FILTER) {
    const service = readRateLimitService(typed);
    return service === undefined ? [] : [{ scope, service }];
  }
  value.problem("name", `"${wanted}" is not supported: only ${LOCAL_FILTER} and ${GLOBAL_FILTER}`);
  return [];
}

function readRoutes(
  kind: "VIRTUAL_HOST" | "HTTP_ROUTE",
  match: Fields | undefined,
  patch: Fields | undefined,
): LimitPatch[] {
  const scope = readScope(kind, match);
  patch?.oneOf("operation", ["MERGE"]);
  const value = patch?.object("value");
  patch?.refuseUnknown();
  if (value === undefined) {
    patch?.problem("value", "is required");
    return [];
  }
  const patches: LimitPatch[] = [];
  const filters = value.object("typed_per_filter_config");
  const typed = filters?.object(LOCAL_FILTER);
  filters?.refuseUnknown();
  if (typed !== undefined) patches.push(...localPatches(scope, typed));
  const action = kind === "HTTP_ROUTE" ? value.object("route") : undefined;
  for (const holder of [value, action]) {
    const descriptors = holder?.has("rate_limits") ? readRateLimits(holder) : [];
    if (descriptors.length > 0) patches.push({ scope, descriptors });
  }
  action?.refuseUnknown();
  value.refuseUnknown();
  return patches;
}

function localPatches(scope: PatchScope, typed: Fields): LimitPatch[] {
  const read = readLocalRateLimit(typed);
  return read === undefined ? [] : [{ scope, local: read.local, localActions: read.actions }];
}

function readScope(kind: "VIRTUAL_HOST" | "HTTP_ROUTE", match: Fields | undefined): PatchScope {
  const configuration = match?.object("routeConfiguration");
  const vhost = configuration?.object("vhost");
  const route = vhost?.object("route");
  const vhostName = vhost?.string("name") ?? "";
  const port = VHOST.exec(vhostName)?.[1];
  if (vhostName !== "" && port === undefined) vhost?.problem("name", 'must be empty or like "inbound|http|9080"');
  route?.oneOf("action", kind === "VIRTUAL_HOST" ? ["ANY"] : ["ANY", "ROUTE"]);
  const name = kind === "HTTP_ROUTE" ? route?.string("name") || undefined : undefined;
  for (const each of [route, vhost, configuration, match]) each?.refuseUnknown();
  const number = configuration?.integer("portNumber", 1, 65_535) ?? (port === undefined ? undefined : Number(port));
  return { port: number, route: kind === "HTTP_ROUTE" ? { name } : undefined };
}
