import { create } from "@bufbuild/protobuf";
import {
  type DirectResponse,
  DirectResponseSchema,
  type Redirect,
  Redirect_PortMode,
  RedirectSchema,
  RewriteSchema,
} from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { readHttpMatch } from "./http-match.ts";
import type {
  HostPort,
  HttpAction,
  HttpMatchFacts,
  HttpRuleFacts,
  MirrorFacts,
  RouteDestination,
  RuleTraits,
} from "./http-rule.ts";
import { readCors, readFault, readHeaders, readRetries, readRewrite } from "./http-traits.ts";
import { fullHost, isHost, isLabel, readDuration, readPercent } from "./values.ts";

const ACTIONS = ["redirect", "directResponse", "route", "delegate"] as const;
/** Those that the engine, like Envoy, can answer. */
const REDIRECT_CODES = new Set([301, 302, 303, 307, 308]);
const MAX_BODY_BYTES = 1_048_576;
const MAX_WEIGHT = 0xffff_ffff / 1_024;

export interface RuleContext {
  readonly namespace: string;
  readonly clusterDomain: string;
  /** Of a VirtualService without hosts. */
  readonly delegate: boolean;
}

export function readHttpRule(fields: Fields, context: RuleContext): HttpRuleFacts {
  const matches = fields.objects("match").map(readHttpMatch);
  const present = ACTIONS.filter((name) => fields.has(name));
  if (present.length !== 1) fields.problem("", `needs one of ${ACTIONS.join(", ")}`);
  const headers = readHeaders(fields.object("headers"));
  const traits = readTraits(fields, matches, headers, context);
  const action = readAction(fields, matches, context);
  if (action.kind === "delegate" && context.delegate) fields.problem("delegate", "a delegate cannot delegate");
  const name = fields.string("name") ?? "";
  fields.refuseUnknown();
  return { name, matches, action, traits };
}

function readTraits(
  fields: Fields,
  matches: readonly HttpMatchFacts[],
  headers: ReturnType<typeof readHeaders>,
  context: RuleContext,
): RuleTraits {
  const retries = fields.object("retries");
  const fault = fields.object("fault");
  const cors = fields.object("corsPolicy");
  const timeoutMs = readDuration(fields, "timeout");
  const rewriteFields = fields.object("rewrite");
  const byRegex = matches.length > 0 && matches.every(({ path }) => path?.kind.case === "regex");
  let rewrite = rewriteFields && readRewrite(rewriteFields, byRegex);
  if (rewriteFields !== undefined && fields.has("redirect"))
    fields.problem("rewrite", "must not be set beside redirect");
  if (headers.authority !== undefined && (rewrite === undefined || rewrite.authority === "")) {
    rewrite ??= create(RewriteSchema);
    rewrite.authority = headers.authority;
  }
  const mirrors = readMirrors(fields, context);
  const previous = retries?.boolean("retryIgnorePreviousHosts");
  return {
    ...(rewrite === undefined ? {} : { rewrite }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(retries === undefined ? {} : { retry: readRetries(retries) }),
    ...(previous === undefined ? {} : { retryIgnorePreviousHosts: previous }),
    ...(fault === undefined ? {} : { fault: readFault(fault) }),
    ...(mirrors === undefined ? {} : { mirrors }),
    ...(cors === undefined ? {} : { cors: readCors(cors) }),
    ...(headers.requestHeaders === undefined ? {} : { requestHeaders: headers.requestHeaders }),
    ...(headers.responseHeaders === undefined ? {} : { responseHeaders: headers.responseHeaders }),
  };
}

function readAction(fields: Fields, matches: readonly HttpMatchFacts[], context: RuleContext): HttpAction {
  const redirect = fields.object("redirect");
  if (redirect !== undefined) return { kind: "redirect", redirect: readRedirect(redirect, matches) };
  const direct = fields.object("directResponse");
  if (direct !== undefined) return { kind: "direct", direct: readDirect(direct) };
  const delegate = fields.object("delegate");
  if (delegate !== undefined) {
    const name = delegate.string("name") ?? "";
    const namespace = delegate.string("namespace") || context.namespace;
    delegate.refuseUnknown();
    if (name === "") delegate.problem("name", "is required");
    return { kind: "delegate", namespace, name };
  }
  return { kind: "route", destinations: readDestinations(fields, context) };
}

function readDestinations(fields: Fields, context: RuleContext): RouteDestination[] {
  const routes = fields.objects("route");
  const all = routes.map((route) => {
    const weight = route.integer("weight", 0, MAX_WEIGHT) ?? 0;
    const target = readHostPort(route, "destination", context);
    const headers = readHeaders(route.object("headers"));
    route.refuseUnknown();
    return { ...target, weight, ...headers };
  });
  return shares(fields, "route", all);
}

/**
 * One destination gets everything; of several, those without a weight get nothing. They stay all the same: headers of one
 * destination among several come in another order than those of an only one.
 */
export function shares<T extends { readonly weight: number }>(fields: Fields, name: string, all: readonly T[]): T[] {
  if (fields.has(name) && all.length === 0) fields.problem(name, "needs at least one destination");
  if (all.length === 1) return all.map((each) => ({ ...each, weight: 1 }));
  const none = all.every(({ weight }) => weight === 0);
  if (all.length > 1 && none) fields.problem(name, "weights must not all be 0");
  return [...all];
}

export function readHostPort(fields: Fields, name: string, context: RuleContext): HostPort {
  const destination = fields.object(name);
  if (destination === undefined) {
    fields.problem(name, "is required");
    return { host: "", subset: "" };
  }
  const host = destination.string("host") ?? "";
  const subset = destination.string("subset") ?? "";
  const selector = destination.object("port");
  const port = selector?.integer("number", 1, 65_535);
  selector?.refuseUnknown();
  destination.refuseUnknown();
  if (host === "") destination.problem("host", "is required");
  else if (host === "*" || !isHost(host)) destination.problem("host", `"${host}" is no host name`);
  if (subset !== "" && !isLabel(subset)) destination.problem("subset", `"${subset}" is no name of a subset`);
  return {
    host: fullHost(host, context.namespace, context.clusterDomain),
    subset,
    ...(port === undefined ? {} : { port }),
  };
}

function readMirrors(fields: Fields, context: RuleContext): MirrorFacts[] | undefined {
  const single = fields.object("mirror");
  const several = fields.objects("mirrors");
  const share = readPercent(fields, "mirrorPercentage");
  const old = fields.integer("mirrorPercent", 0, 100) ?? fields.integer("mirror_percent", 0, 100);
  if (single !== undefined && several.length > 0) fields.problem("mirrors", "must not be set beside mirror");
  if (single !== undefined) {
    const sharePpm = share ?? (old === undefined ? 1_000_000 : old * 10_000);
    return [{ ...readHostPort(fields, "mirror", context), sharePpm }].filter(({ sharePpm: ppm }) => ppm > 0);
  }
  if (several.length === 0) return undefined;
  return several
    .map((mirror) => {
      const target = readHostPort(mirror, "destination", context);
      const sharePpm = readPercent(mirror, "percentage") ?? 1_000_000;
      mirror.refuseUnknown();
      return { ...target, sharePpm };
    })
    .filter(({ sharePpm }) => sharePpm > 0);
}

function readRedirect(fields: Fields, matches: readonly HttpMatchFacts[]): Redirect {
  const uri = fields.string("uri");
  const prefix = fields.string("prefixRewrite");
  const authority = fields.string("authority");
  const scheme = fields.oneOf("scheme", ["http", "https"]);
  const port = fields.integer("port", 1, 65_535);
  const derive = fields.oneOf("derivePort", ["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]);
  const status = fields.integer("redirectCode", 300, 399) ?? 0;
  fields.refuseUnknown();
  if (status !== 0 && !REDIRECT_CODES.has(status)) {
    fields.problem("redirectCode", `must be one of ${[...REDIRECT_CODES].join(", ")}`);
  }
  if (uri !== undefined && prefix !== undefined) fields.problem("prefixRewrite", "must not be set beside uri");
  if (prefix !== undefined && matches.some(({ path }) => path?.kind.case !== "prefix")) {
    fields.problem("prefixRewrite", "needs matches of uri.prefix");
  }
  if (port !== undefined && derive !== undefined) fields.problem("derivePort", "must not be set beside port");
  if (![uri, prefix, authority, scheme, port, derive].some((value) => value !== undefined)) {
    fields.problem("", "needs uri, prefixRewrite, authority, scheme or port");
  }
  const redirect = create(RedirectSchema, {
    scheme: scheme ?? "",
    authority: authority ?? "",
    port: port ?? 0,
    status,
  });
  if (derive === "FROM_PROTOCOL_DEFAULT") redirect.portMode = Redirect_PortMode.BY_SCHEME;
  if (derive === "FROM_REQUEST_PORT") redirect.portMode = Redirect_PortMode.FROM_LISTENER;
  if (uri) {
    redirect.path = { case: "full", value: uri };
    // A query of its own takes the place of the request's.
    redirect.stripQuery = uri.includes("?");
  } else if (prefix !== undefined) redirect.path = { case: "prefix", value: prefix };
  return redirect;
}

function readDirect(fields: Fields): DirectResponse {
  const status = fields.integer("status", 200, 599);
  if (!fields.has("status")) fields.problem("status", "is required");
  const body = fields.object("body");
  const text = body?.string("string");
  const bytes = body?.string("bytes");
  body?.refuseUnknown();
  fields.refuseUnknown();
  if (text !== undefined && bytes !== undefined) body?.problem("", "must have one of string and bytes");
  const content = bytes === undefined ? Buffer.from(text ?? "") : Buffer.from(bytes, "base64");
  if (content.length > MAX_BODY_BYTES) fields.problem("body", `is longer than ${MAX_BODY_BYTES} bytes`);
  return create(DirectResponseSchema, { status: status ?? 503, body: content });
}
