/** RequestAuthentication as waypoints enforce it: with targetRefs. Keys are fetched by the control plane, not by proxies. */
import { create } from "@bufbuild/protobuf";
import type { IstioObject } from "#lib/kube/types.ts";
import { type JwtRule, JwtRuleSchema } from "#proto/l7_pb.ts";
import { Fields, type Problem } from "../../model/fields.ts";
import { type Meta, metaOf } from "../../model/meta.ts";
import { isHeaderName } from "../gateway-api/values.ts";
import { durationMs } from "../istio/values.ts";
import { type JwksSource, parseJwks } from "./jwks.ts";
import { readTargets, type Target } from "./policy-target.ts";

export interface JwtRuleFacts {
  /** Where the keys come from; absent: `rule.jwks` has them. */
  readonly source?: JwksSource;
  readonly rule: JwtRule;
}

export interface RequestAuthenticationFacts extends Meta {
  readonly targets: readonly Target[];
  /** By issuer, so that the order does not depend on how they are written. */
  readonly rules: readonly JwtRuleFacts[];
}

const DEFAULT_TIMEOUT_MS = 5_000;
const MAX_TIMEOUT_MS = 60_000;
const MAX_RULES = 4_096;

/** Undefined: not for waypoints. A rule that is not understood is kept with no keys: its issuer's tokens are refused. */
export function requestAuthenticationFacts(
  object: IstioObject,
  rootNamespace: string,
  problems: Problem[],
): RequestAuthenticationFacts | undefined {
  const meta = metaOf(object);
  const found: Problem[] = [];
  const spec = new Fields(object.spec, "spec", found);
  const targets = readTargets(spec, meta.namespace, rootNamespace);
  if (targets === undefined) return undefined;
  const written = spec.objects("jwtRules");
  if (written.length > MAX_RULES) spec.problem("jwtRules", `must not be more than ${MAX_RULES}`);
  spec.refuseUnknown();
  const rules = written.slice(0, MAX_RULES).map(readRule);
  rules.sort((a, b) => (a.rule.issuer < b.rule.issuer ? -1 : a.rule.issuer > b.rule.issuer ? 1 : 0));
  problems.push(...found);
  return { ...meta, targets, rules };
}

function readRule(fields: Fields): JwtRuleFacts {
  const issuer = fields.string("issuer") ?? "";
  const uri = fields.string("jwksUri") ?? fields.string("jwks_uri");
  const inline = fields.string("jwks");
  const timeoutMs = readTimeout(fields);
  const fromHeaders = fields.objects("fromHeaders").flatMap((entry) => {
    const name = entry.string("name") ?? "";
    const prefix = entry.string("prefix") ?? "";
    entry.refuseUnknown();
    if (!isHeaderName(name)) entry.problem("name", `"${name}" is no name of a header`);
    return isHeaderName(name) ? [{ name: name.toLowerCase(), prefix }] : [];
  });
  const outputClaims = fields.objects("outputClaimToHeaders").flatMap((entry) => {
    const header = entry.string("header") ?? "";
    const claim = entry.string("claim") ?? "";
    entry.refuseUnknown();
    if (!isHeaderName(header)) entry.problem("header", `"${header}" is no name of a header`);
    if (claim === "") entry.problem("claim", "is required");
    return isHeaderName(header) && claim !== "" ? [{ header: header.toLowerCase(), claim }] : [];
  });
  const payload = fields.string("outputPayloadToHeader") ?? "";
  if (payload !== "" && !isHeaderName(payload)) fields.problem("outputPayloadToHeader", "is no name of a header");
  const forward = fields.raw("forwardOriginalToken");
  if (forward !== undefined && typeof forward !== "boolean")
    fields.problem("forwardOriginalToken", "must be true or false");
  const rule = create(JwtRuleSchema, {
    issuer,
    audiences: fields.strings("audiences"),
    fromHeaders,
    fromParams: fields.strings("fromParams"),
    fromCookies: fields.strings("fromCookies"),
    outputPayloadToHeader: isHeaderName(payload) ? payload.toLowerCase() : "",
    outputClaims,
    forward: forward === true,
    spaceDelimitedClaims: fields.strings("spaceDelimitedClaims"),
  });
  fields.refuseUnknown();
  if (issuer === "" && uri === undefined) fields.problem("issuer", "or jwksUri is required");
  if (uri !== undefined && inline !== undefined) fields.problem("jwks", "must not be set beside jwksUri");
  if (inline !== undefined) return inlineKeys(fields, rule, inline);
  const source = readSource(fields, issuer, uri, timeoutMs);
  return source === undefined ? { rule: { ...rule, jwksMissing: true } } : { source, rule };
}

function inlineKeys(fields: Fields, rule: JwtRule, document: string): JwtRuleFacts {
  const keys = parseJwks(document);
  if ("problem" in keys) {
    fields.problem("jwks", keys.problem);
    return { rule: { ...rule, jwksMissing: true } };
  }
  return { rule: { ...rule, jwks: keys.document } };
}

function readSource(
  fields: Fields,
  issuer: string,
  uri: string | undefined,
  timeoutMs: number,
): JwksSource | undefined {
  const text = uri ?? issuer;
  if (text === "") return undefined;
  if (/^https?:\/\/[^/@\s]+/.test(text) && URL.canParse(text) && text.length <= 2_048) {
    return uri === undefined ? { issuer, timeoutMs } : { uri, timeoutMs };
  }
  fields.problem(
    uri === undefined ? "issuer" : "jwksUri",
    uri === undefined
      ? "is no http(s) address where keys could be discovered; give jwks or jwksUri"
      : "is no http(s) address",
  );
  return undefined;
}

function readTimeout(fields: Fields): number {
  const text = fields.string("timeout");
  if (text === undefined) return DEFAULT_TIMEOUT_MS;
  const value = durationMs(text) ?? 0;
  if (value >= 1 && value <= MAX_TIMEOUT_MS) return value;
  fields.problem("timeout", `"${text}" is no duration from 1ms to 1m`);
  return DEFAULT_TIMEOUT_MS;
}
