import { create } from "@bufbuild/protobuf";
import { type PathMatch, PathMatchSchema, type StringMatch } from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import type { HttpMatchFacts, Matches } from "./http-rule.ts";
import { isHeaderName, readStringMatch } from "./values.ts";

const CLAIMS = /^@request\.auth\.claims(\.|\[)/;

/** A block of `http[].match`. */
export function readHttpMatch(fields: Fields): HttpMatchFacts {
  const path = readPath(fields);
  const scheme = readStringMatch(fields.object("scheme"));
  const method = readStringMatch(fields.object("method"));
  const authority = readStringMatch(fields.object("authority"));
  const port = fields.integer("port", 1, 65_535);
  const sourceNamespace = fields.string("sourceNamespace");
  const { headers, claims } = readHeaders(fields, "headers");
  const without = readHeaders(fields, "withoutHeaders");
  // Only names series, of which we have no own per route.
  fields.string("statPrefix");
  const match: HttpMatchFacts = {
    name: fields.string("name") ?? "",
    ...(path === undefined ? {} : { path }),
    ...(scheme === undefined ? {} : { scheme }),
    ...(method === undefined ? {} : { method }),
    ...(authority === undefined ? {} : { authority }),
    headers,
    withoutHeaders: without.headers,
    query: readQuery(fields),
    claims,
    ...(port === undefined ? {} : { port }),
    sourceLabels: fields.map("sourceLabels"),
    ...(sourceNamespace ? { sourceNamespace } : {}),
    gateways: fields.strings("gateways"),
  };
  if (without.claims.length > 0) fields.problem("withoutHeaders", "cannot hold claims");
  fields.refuseUnknown();
  return match;
}

/** Without any condition on the request but a path that every request has. */
export function isCatchAll(match: HttpMatchFacts): boolean {
  const { path, headers, withoutHeaders, query, claims, scheme, method, authority, sourceNamespace } = match;
  if (scheme !== undefined || method !== undefined || authority !== undefined || sourceNamespace !== undefined)
    return false;
  if (claims.length > 0 || [headers, withoutHeaders, query].some((each) => Object.keys(each).length > 0)) return false;
  return (
    path === undefined ||
    (path.kind.case === "prefix" && path.kind.value === "/") ||
    (path.kind.case === "regex" && path.kind.value === ".*")
  );
}

function readPath(fields: Fields): PathMatch | undefined {
  const ignoreCase = fields.boolean("ignoreUriCase") ?? false;
  const match = readStringMatch(fields.object("uri"), { emptyPrefix: true });
  const kind = match?.kind;
  if (kind?.case !== "exact" && kind?.case !== "prefix" && kind?.case !== "regex") return undefined;
  return create(PathMatchSchema, { kind, ignoreCase: ignoreCase && kind.case !== "regex" });
}

function readHeaders(fields: Fields, name: string): { headers: Matches; claims: HttpMatchFacts["claims"] } {
  const headers: Record<string, StringMatch> = Object.create(null);
  const claims: { path: readonly string[]; value: StringMatch }[] = [];
  const map = fields.object(name);
  for (const key of map?.names() ?? []) {
    const value = map?.raw(key) === undefined ? undefined : readStringMatch(map?.object(key), { presence: true });
    if (map?.raw(key) === undefined) map?.problem(key, "must be an object");
    const claim = CLAIMS.test(key) ? claimPath(key) : undefined;
    if (claim === undefined && !isHeaderName(key)) map?.problem(key, "is no name of a header");
    else if (value === undefined) continue;
    else if (claim === undefined) headers[key.toLowerCase()] = value;
    else claims.push({ path: claim, value });
  }
  return { headers, claims };
}

/** Of `@request.auth.claims.a.b` or `@request.auth.claims[a][b]`. */
function claimPath(key: string): string[] | undefined {
  const rest = key.slice("@request.auth.claims".length);
  const path = rest.startsWith(".")
    ? rest.slice(1).split(".")
    : /^(\[[^[\]]+\])+$/.test(rest)
      ? rest.slice(1, -1).split("][")
      : [];
  return path.length > 0 && path.every((part) => part !== "") ? path : undefined;
}

function readQuery(fields: Fields): Matches {
  const query: Record<string, StringMatch> = Object.create(null);
  const map = fields.object("queryParams");
  for (const key of map?.names() ?? []) {
    const value = readStringMatch(map?.object(key), { presence: true });
    if (value !== undefined) query[key] = value;
  }
  return query;
}
