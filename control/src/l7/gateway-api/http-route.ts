/** HTTPRoutes and GRPCRoutes as they are written. A rule that is not understood is left out, and the route says so. */

import { hash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { RouteObject } from "#lib/kube/types.ts";
import { type SessionPersistence, SessionPersistenceSchema } from "#proto/l7_pb.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import { metaOf } from "../../model/meta.ts";
import { readBackendRef } from "./backend-ref.ts";
import { readGrpcMatches } from "./grpc-matches.ts";
import { type FilterPlace, readFilters } from "./http-filters.ts";
import { readHttpMatches } from "./http-matches.ts";
import { readParentRefs } from "./parent-ref.ts";
import {
  type HttpRouteFacts,
  type HttpRule,
  type RuleRetry,
  type RuleTimeouts,
  routeId,
  versionOf,
} from "./route-facts.ts";
import { isHeaderName, readDuration } from "./values.ts";

/** The API allows 16; more would have come past its checks. */
const MAX_RULES = 64;
const MAX_MATCHES = 128;
const MAX_BACKENDS = 64;

export function httpRouteFacts(kind: HttpRouteFacts["kind"], object: RouteObject): HttpRouteFacts {
  const meta = metaOf(object);
  const refused: Problem[] = [];
  const dropped: Problem[] = [];
  const spec = new Fields(object.spec, "spec", refused);
  const parents = readParentRefs(spec, meta.namespace);
  const rules: HttpRule[] = [];
  // Without rules a route has one that matches everything, and nowhere to go.
  const written = spec.objects("rules").length > 0 ? (spec.raw("rules") as readonly unknown[]) : [{}];
  if (written.length > MAX_RULES) spec.problem("rules", `must not be more than ${MAX_RULES}`);
  for (const [index, value] of written.slice(0, MAX_RULES).entries()) {
    const problems: Problem[] = [];
    const rule = readRule(kind, new Fields(value, `spec.rules[${index}]`, problems), index, meta);
    if (problems.length === 0) rules.push(rule);
    dropped.push(...problems);
  }
  const whole = rules.length === 0 ? [...refused, ...dropped] : refused;
  return {
    ...meta,
    ...versionOf(object),
    id: routeId({ kind, ...meta }),
    kind,
    parents,
    rules: whole.length > 0 ? [] : rules,
    refused: whole,
    dropped,
  };
}

function readRule(
  kind: HttpRouteFacts["kind"],
  fields: Fields,
  index: number,
  meta: { readonly namespace: string; readonly name: string },
): HttpRule {
  const matches = kind === "HTTPRoute" ? readHttpMatches(fields) : readGrpcMatches(fields);
  if (matches.length > MAX_MATCHES) fields.problem("matches", `must not be more than ${MAX_MATCHES}`);
  const matchesPrefix = matches.length === 1 && matches[0]?.match.path?.kind.case === "segmentPrefix";
  const place: FilterPlace = { route: kind, namespace: meta.namespace, level: "rule", matchesPrefix };
  const filters = readFilters(fields, place);
  const refs = fields.objects("backendRefs");
  if (refs.length > MAX_BACKENDS) fields.problem("backendRefs", `must not be more than ${MAX_BACKENDS}`);
  const backends = refs.flatMap((entry) => {
    const ref = readBackendRef(entry, meta.namespace);
    const own = readFilters(entry, { ...place, level: "backend" });
    entry.refuseUnknown();
    return ref === undefined ? [] : [{ ref, filters: own }];
  });
  if (filters.redirect !== undefined && backends.length > 0) {
    fields.problem("backendRefs", "must not be set beside a RequestRedirect");
  }
  const timeouts = readTimeouts(fields);
  const retry = readRetry(fields);
  const session = readSession(fields, `${kind}/${meta.namespace}/${meta.name}/${index}`);
  const name = fields.string("name") ?? String(index);
  fields.refuseUnknown();
  return {
    name,
    index,
    matches,
    filters,
    backends,
    timeouts,
    ...(retry === undefined ? {} : { retry }),
    ...(session === undefined ? {} : { session }),
  };
}

function readTimeouts(rule: Fields): RuleTimeouts {
  const fields = rule.object("timeouts");
  if (fields === undefined) return { requestMs: 0, backendRequestMs: 0 };
  const requestMs = readDuration(fields, "request") ?? 0;
  const backendRequestMs = readDuration(fields, "backendRequest") ?? 0;
  fields.refuseUnknown();
  if (requestMs > 0 && backendRequestMs > requestMs) {
    fields.problem("backendRequest", "must not be longer than request");
  }
  return { requestMs, backendRequestMs };
}

/** Retries beyond this help nobody and multiply an outage. */
const MAX_ATTEMPTS = 100;

function readRetry(rule: Fields): RuleRetry | undefined {
  const fields = rule.object("retry");
  if (fields === undefined) return undefined;
  const attempts = fields.integer("attempts", 0, MAX_ATTEMPTS) ?? 1;
  const backoffMs = readDuration(fields, "backoff") ?? 0;
  const raw = fields.raw("codes") ?? [];
  const codes = (Array.isArray(raw) ? raw : [raw]).filter((code: unknown, at): code is number => {
    const good = typeof code === "number" && Number.isInteger(code) && code >= 400 && code <= 599;
    if (!good) fields.problem(`codes[${at}]`, "must be a status code from 400 to 599");
    return good;
  });
  fields.refuseUnknown();
  return { attempts, codes, backoffMs };
}

/** `owner` makes the name of a cookie that has none: the same in each replica, another for each rule. */
function readSession(rule: Fields, owner: string): SessionPersistence | undefined {
  const fields = rule.object("sessionPersistence");
  if (fields === undefined) return undefined;
  const type = fields.oneOf("type", ["Cookie", "Header"]) ?? "Cookie";
  const absoluteTimeoutMs = BigInt(readDuration(fields, "absoluteTimeout") ?? 0);
  const cookie = fields.object("cookie");
  const cookieName = cookie?.string("name") ?? `weft-session-${hash("sha1", owner, "hex").slice(0, 12)}`;
  const path = cookie?.string("path") ?? "/";
  const permanent = cookie?.oneOf("lifetimeType", ["Session", "Permanent"]) === "Permanent";
  cookie?.refuseUnknown();
  const header = fields.object("header");
  const headerName = header?.string("name") ?? "";
  header?.refuseUnknown();
  fields.refuseUnknown();
  if (permanent && absoluteTimeoutMs === 0n) fields.problem("absoluteTimeout", "is required for a permanent cookie");
  const name = type === "Cookie" ? cookieName : headerName;
  if (!isHeaderName(name)) fields.problem(type === "Cookie" ? "cookie.name" : "header.name", `"${name}" is no name`);
  return create(SessionPersistenceSchema, {
    ...(type === "Cookie" ? { cookie: name, path, permanent } : { header: name.toLowerCase() }),
    absoluteTimeoutMs,
  });
}
