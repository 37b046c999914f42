/** Filters of a rule or of one of its backends. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import {
  type HeaderOps,
  HeaderOpsSchema,
  type HeaderValueSchema,
  RedirectSchema,
  type Rewrite,
  RewriteSchema,
} from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { type BackendRef, readBackendRef } from "./backend-ref.ts";
import { readCors } from "./cors-filter.ts";
import { readExternalAuth } from "./external-auth-filter.ts";
import type { HttpFilters, HttpRouteFacts, MirrorFilter, RedirectFilter } from "./route-facts.ts";
import { isHeaderName, readHeaderName } from "./values.ts";

type HeaderValues = MessageInitShape<typeof HeaderValueSchema>[];
type Writable<T> = { -readonly [K in keyof T]: T[K] };

const PER_MILLION = 1_000_000;
/** A problem that the API has a reason of its own for. */
export const INCOMPATIBLE_FILTERS = "RequestRedirect and URLRewrite exclude each other";
const MAX_FILTERS = 16;
const REDIRECT_CODES = [301, 302, 303, 307, 308];
const DEFAULT_REDIRECT_CODE = 302;

const HTTP_FILTERS = [
  "RequestHeaderModifier",
  "ResponseHeaderModifier",
  "RequestMirror",
  "RequestRedirect",
  "URLRewrite",
  "CORS",
  "ExternalAuth",
  "ExtensionRef",
] as const;
const GRPC_FILTERS = ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef"] as const;
/** Filters whose work is done for a rule as a whole, before a backend is drawn. */
const RULE_ONLY: readonly string[] = ["CORS", "ExternalAuth"];

/** Where the filters are. */
export interface FilterPlace {
  readonly route: HttpRouteFacts["kind"];
  readonly namespace: string;
  readonly level: "rule" | "backend";
  /** A prefix can be replaced only where one is matched. */
  readonly matchesPrefix: boolean;
}

export function readFilters(owner: Fields, place: FilterPlace): HttpFilters {
  const result: Writable<HttpFilters> = { mirrors: [] };
  const mirrors: MirrorFilter[] = [];
  const seen = new Set<string>();
  const filters = owner.objects("filters");
  if (filters.length > MAX_FILTERS) owner.problem("filters", `must not be more than ${MAX_FILTERS}`);
  for (const filter of filters) {
    const type = filter.oneOf("type", place.route === "HTTPRoute" ? HTTP_FILTERS : GRPC_FILTERS);
    if (type === undefined) {
      if (!filter.has("type")) filter.problem("type", "is required");
      continue;
    }
    if (type !== "RequestMirror" && type !== "ExtensionRef" && seen.has(type))
      filter.problem("type", `${type} is there twice`);
    seen.add(type);
    if (place.level === "backend" && RULE_ONLY.includes(type))
      filter.problem("type", `${type} is not possible on a backend`);
    readFilter(filter, type, place, result, mirrors);
    filter.refuseUnknown();
  }
  if (result.redirect !== undefined && result.rewrite !== undefined) {
    owner.problem("filters", INCOMPATIBLE_FILTERS);
  }
  return { ...result, mirrors };
}

function readFilter(
  filter: Fields,
  type: (typeof HTTP_FILTERS)[number],
  place: FilterPlace,
  result: Writable<HttpFilters>,
  mirrors: MirrorFilter[],
): void {
  const body = (name: string): Fields | undefined => {
    const fields = filter.object(name);
    if (fields === undefined) filter.problem(name, `is required for a filter of type ${type}`);
    return fields;
  };
  switch (type) {
    case "RequestHeaderModifier": {
      const fields = body("requestHeaderModifier");
      if (fields !== undefined) result.requestHeaders = readHeaderOps(fields);
      break;
    }
    case "ResponseHeaderModifier": {
      const fields = body("responseHeaderModifier");
      if (fields !== undefined) result.responseHeaders = readHeaderOps(fields);
      break;
    }
    case "RequestMirror": {
      const fields = body("requestMirror");
      const mirror = fields && readMirror(fields, place.namespace);
      if (mirror !== undefined) mirrors.push(mirror);
      break;
    }
    case "RequestRedirect": {
      const fields = body("requestRedirect");
      if (fields !== undefined) result.redirect = readRedirect(fields, place.matchesPrefix);
      break;
    }
    case "URLRewrite": {
      const fields = body("urlRewrite");
      if (fields !== undefined) result.rewrite = readRewrite(fields, place.matchesPrefix);
      break;
    }
    case "CORS": {
      const fields = body("cors");
      if (fields !== undefined) result.cors = readCors(fields);
      break;
    }
    case "ExternalAuth": {
      const fields = body("externalAuth");
      const auth = fields && readExternalAuth(fields, place.namespace);
      if (auth !== undefined) result.auth = auth;
      break;
    }
    case "ExtensionRef": {
      const fields = body("extensionRef");
      result.unknown = `${fields?.string("kind") ?? ""}.${fields?.string("group") ?? ""} ${fields?.string("name") ?? ""}`;
      break;
    }
  }
}

function readHeaderOps(fields: Fields): HeaderOps {
  const acted = new Set<string>();
  const once = (name: string): boolean => {
    if (acted.has(name)) fields.problem("", `does more than one thing with header ${name}`);
    return !acted.has(name) && acted.add(name) !== undefined;
  };
  const values = (field: string): HeaderValues =>
    fields.objects(field).flatMap((entry) => {
      const name = readHeaderName(entry);
      const value = entry.string("value");
      entry.refuseUnknown();
      if (value === undefined) entry.problem("value", "is required");
      else if (/[\r\n\0]/.test(value)) entry.problem("value", "must not hold line breaks");
      return name === undefined || value === undefined || !once(name) ? [] : [{ name, value: literal(value) }];
    });
  const set = values("set");
  const add = values("add");
  const remove = fields.strings("remove").flatMap((text, index) => {
    if (!isHeaderName(text)) fields.problem(`remove[${index}]`, `"${text}" is no name of a header`);
    const name = text.toLowerCase();
    return isHeaderName(text) && once(name) ? [name] : [];
  });
  fields.refuseUnknown();
  return create(HeaderOpsSchema, { set, add, remove });
}

/** The program's values may hold commands; the API's are just text. */
function literal(value: string): string {
  return value.replaceAll("%", "%%");
}

function readMirror(fields: Fields, namespace: string): MirrorFilter | undefined {
  const backend = readMirroredBackend(fields, namespace);
  const percent = fields.integer("percent", 0, 100);
  const fraction = fields.object("fraction");
  let sharePpm = (percent ?? 100) * (PER_MILLION / 100);
  if (fraction !== undefined) {
    const numerator = fraction.integer("numerator", 0, 0x7fff_ffff);
    const denominator = fraction.integer("denominator", 1, 0x7fff_ffff) ?? 100;
    fraction.refuseUnknown();
    if (numerator === undefined || numerator > denominator)
      fraction.problem("numerator", "must not exceed the denominator");
    else sharePpm = Math.round((numerator / denominator) * PER_MILLION);
    if (percent !== undefined) fields.problem("fraction", "must not be set beside percent");
  }
  fields.refuseUnknown();
  return backend === undefined ? undefined : { backend, sharePpm };
}

function readMirroredBackend(fields: Fields, namespace: string): BackendRef | undefined {
  const ref = fields.object("backendRef");
  if (ref === undefined) {
    fields.problem("backendRef", "is required");
    return undefined;
  }
  const backend = readBackendRef(ref, namespace);
  ref.refuseUnknown();
  return backend;
}

function readRedirect(fields: Fields, matchesPrefix: boolean): RedirectFilter {
  const scheme = fields.oneOf("scheme", ["http", "https"]);
  const port = fields.integer("port", 1, 65_535);
  const host = readHostname(fields);
  const status = fields.integer("statusCode", 300, 399) ?? DEFAULT_REDIRECT_CODE;
  if (!REDIRECT_CODES.includes(status)) fields.problem("statusCode", `must be one of ${REDIRECT_CODES.join(", ")}`);
  const path = readPathModifier(fields, matchesPrefix);
  fields.refuseUnknown();
  const redirect = create(RedirectSchema, {
    status,
    ...(scheme === undefined ? {} : { scheme }),
    ...(host === undefined ? {} : { host }),
    ...(path === undefined ? {} : { path }),
  });
  return { redirect, ...(scheme === undefined ? {} : { scheme }), ...(port === undefined ? {} : { port }) };
}

function readRewrite(fields: Fields, matchesPrefix: boolean): Rewrite {
  const authority = readHostname(fields);
  const path = readPathModifier(fields, matchesPrefix);
  fields.refuseUnknown();
  return create(RewriteSchema, {
    ...(authority === undefined ? {} : { authority }),
    ...(path === undefined ? {} : { path }),
  });
}

function readHostname(fields: Fields): string | undefined {
  const host = fields.string("hostname");
  if (host === undefined) return undefined;
  if (/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(host) && host.length <= 253) return host;
  fields.problem("hostname", `"${host}" is no host name`);
  return undefined;
}

type PathModifier =
  | { readonly case: "full"; readonly value: string }
  | { readonly case: "segmentPrefix"; readonly value: string };

function readPathModifier(owner: Fields, matchesPrefix: boolean): PathModifier | undefined {
  const fields = owner.object("path");
  if (fields === undefined) return undefined;
  const type = fields.oneOf("type", ["ReplaceFullPath", "ReplacePrefixMatch"]);
  const full = fields.string("replaceFullPath");
  const prefix = fields.string("replacePrefixMatch");
  fields.refuseUnknown();
  const value = type === "ReplaceFullPath" ? full : prefix;
  if (type === undefined || value === undefined) {
    fields.problem("type", "must be ReplaceFullPath or ReplacePrefixMatch, beside the field of that name");
    return undefined;
  }
  if (/[\r\n\0 ?#]/.test(value)) fields.problem("", `"${value}" is no path`);
  if (type === "ReplaceFullPath") return { case: "full", value: value.startsWith("/") ? value : `/${value}` };
  if (!matchesPrefix)
    fields.problem("type", "ReplacePrefixMatch needs a rule with exactly one match, of a path prefix");
  return { case: "segmentPrefix", value };
}
