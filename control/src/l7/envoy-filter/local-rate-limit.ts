/** `envoy.filters.http.local_ratelimit`: a bucket of tokens for a chain, or for each of its routes. */
import { create } from "@bufbuild/protobuf";
import { type LocalRateLimit, LocalRateLimitSchema } from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { isHeaderName, readDuration } from "../istio/values.ts";
import { readShare, typedConfig } from "./typed-config.ts";

export const LOCAL_FILTER = "envoy.filters.http.local_ratelimit";
const TYPE = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
const MAX_TOKENS = 0xffff_ffff;
/** Envoy's least. */
const LEAST_FILL_MS = 50;
const MILLION = 1_000_000;

/** Undefined without a bucket: the filter is there for what routes say. */
export function readLocalRateLimit(typed: Fields): LocalRateLimit | undefined {
  const fields = typedConfig(typed, TYPE);
  if (fields === undefined) return undefined;
  fields.string("stat_prefix");
  const status = fields.object("status");
  const code = status?.integer("code", 400, 599);
  status?.refuseUnknown();
  if (fields.boolean("local_rate_limit_per_downstream_connection") === true) {
    fields.problem("local_rate_limit_per_downstream_connection", "is not supported: a bucket is for all connections");
  }
  const headers = readHeaders(fields);
  const bucket = fields.object("token_bucket");
  if (bucket === undefined) {
    for (const name of ["filter_enabled", "filter_enforced"]) fields.raw(name);
    fields.raw("@type");
    fields.refuseUnknown();
    return undefined;
  }
  const tokens = bucket.integer("max_tokens", 1, MAX_TOKENS);
  if (!bucket.has("max_tokens")) bucket.problem("max_tokens", "is required");
  const perFill = bucket.integer("tokens_per_fill", 1, MAX_TOKENS) ?? 1;
  const interval = readDuration(bucket, "fill_interval", LEAST_FILL_MS);
  if (!bucket.has("fill_interval")) bucket.problem("fill_interval", "is required");
  bucket.refuseUnknown();
  const enabled = readShare(fields, "filter_enabled") * readShare(fields, "filter_enforced");
  fields.raw("@type");
  fields.refuseUnknown();
  return create(LocalRateLimitSchema, {
    tokens: tokens ?? 0,
    tokensPerFill: perFill,
    fillIntervalMs: BigInt(interval ?? 0),
    status: code ?? 0,
    responseHeaders: headers,
    enabledPpm: Math.round(enabled / MILLION),
  });
}

const ADDS = ["APPEND_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS_OR_ADD"] as const;

function readHeaders(fields: Fields) {
  const set: { name: string; value: string }[] = [];
  const add: { name: string; value: string }[] = [];
  for (const option of fields.objects("response_headers_to_add")) {
    const header = option.object("header");
    const name = header?.string("key") ?? "";
    const value = header?.string("value") ?? "";
    const appends = option.boolean("append") ?? option.oneOf("append_action", ADDS) !== "OVERWRITE_IF_EXISTS_OR_ADD";
    header?.refuseUnknown();
    option.refuseUnknown();
    if (!isHeaderName(name)) option.problem("header.key", `"${name}" is no name of a header`);
    (appends ? add : set).push({ name: name.toLowerCase(), value });
  }
  return { set, add };
}
