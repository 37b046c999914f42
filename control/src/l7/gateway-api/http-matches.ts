/** `rules[].matches` of an HTTPRoute, and how specific each is. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  HeaderMatchSchema,
  HttpMatchSchema,
  type PathMatchSchema,
  QueryMatchSchema,
  StringMatchSchema,
} from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import type { RankedMatch } from "./route-facts.ts";
import { checkRegex, readHeaderName, readStringMatch } from "./values.ts";

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] as const;
const MAX_PATH = 1_024;

/** Paths that no request has once it is normalised, or that would match something else than they show. */
const ODD_PATH = /\/\/|\/\.\/|\/\.\.\/|%2f|%2F|#|\/\.$|\/\.\.$/;

/** The place of a kind of path among others. The API leaves open where regular expressions are. */
const PREFIX_RANK = 0;
const REGEX_RANK = 1;
const EXACT_RANK = 2;

export function readHttpMatches(rule: Fields): RankedMatch[] {
  const matches = rule.objects("matches");
  return matches.length === 0 ? [everything()] : matches.map(readHttpMatch);
}

interface RankedPath {
  readonly path: MessageInitShape<typeof PathMatchSchema>;
  readonly rank: readonly [kind: number, length: number];
}

const ANY_PATH: RankedPath = { path: { kind: { case: "segmentPrefix", value: "/" } }, rank: [PREFIX_RANK, 1] };

function everything(): RankedMatch {
  return { match: create(HttpMatchSchema, { path: ANY_PATH.path }), rank: [...ANY_PATH.rank, 0, 0, 0] };
}

function readHttpMatch(fields: Fields): RankedMatch {
  const { path, rank } = readPath(fields);
  const method = fields.oneOf("method", METHODS);
  const headers = readHeaderMatches(fields);
  const seen = new Set<string>();
  const query = fields.objects("queryParams").flatMap((param) => {
    const name = param.string("name");
    const value = readStringMatch(param);
    param.refuseUnknown();
    if (name === undefined || name === "") param.problem("name", "is required");
    // Of several conditions on one parameter the first counts.
    if (!name || value === undefined || seen.has(name)) return [];
    seen.add(name);
    return [create(QueryMatchSchema, { name, value })];
  });
  fields.refuseUnknown();
  const match = create(HttpMatchSchema, {
    path,
    headers,
    query,
    ...(method === undefined ? {} : { method: { kind: { case: "exact", value: method } } }),
  });
  return { match, rank: [...rank, method === undefined ? 0 : 1, headers.length, query.length] };
}

function readPath(fields: Fields): RankedPath {
  const path = fields.object("path");
  if (path === undefined) return ANY_PATH;
  const type = path.oneOf("type", ["Exact", "PathPrefix", "RegularExpression"]) ?? "PathPrefix";
  const value = path.string("value") ?? "/";
  path.refuseUnknown();
  if (value.length > MAX_PATH) path.problem("value", `must not be longer than ${MAX_PATH}`);
  if (type === "RegularExpression") {
    checkRegex(path, "value", value);
    return { path: { kind: { case: "regex", value } }, rank: [REGEX_RANK, value.length] };
  }
  if (!value.startsWith("/") || ODD_PATH.test(value)) path.problem("value", `"${value}" is no plain absolute path`);
  if (type === "Exact") return { path: { kind: { case: "exact", value } }, rank: [EXACT_RANK, value.length] };
  // A slash at the end says nothing: elements are compared, not characters.
  const prefix = value.replace(/\/+$/, "") || "/";
  return { path: { kind: { case: "segmentPrefix", value: prefix } }, rank: [PREFIX_RANK, prefix.length] };
}

export function readHeaderMatches(fields: Fields) {
  const seen = new Set<string>();
  return fields.objects("headers").flatMap((header) => {
    const name = readHeaderName(header);
    const value = readStringMatch(header);
    header.refuseUnknown();
    // Of several conditions on one header the first counts.
    if (name === undefined || value === undefined || seen.has(name)) return [];
    seen.add(name);
    return [create(HeaderMatchSchema, { name, value: create(StringMatchSchema, value) })];
  });
}
