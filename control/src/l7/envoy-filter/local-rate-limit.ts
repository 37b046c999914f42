/** `envoy.filters.http.local_ratelimit`: a bucket of tokens for a chain, or for each of its routes. */
import { create } from "@bufbuild/protobuf";
import {
  type DescriptorBucket,
  DescriptorBucketSchema,
  type LocalRateLimit,
  LocalRateLimitSchema,
  type RateLimitDescriptor,
} from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { isHeaderName, readDuration } from "../istio/values.ts";
import { readRateLimits } from "./global-rate-limit.ts";
import { readShare, typedConfig } from "./typed-config.ts";

export const LOCAL_FILTER = "envoy.filters.http.local_ratelimit";
const TYPE = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
const MAX_TOKENS = 0xffff_ffff;
/** Envoy's least. */
const LEAST_FILL_MS = 50;
const MILLION = 1_000_000;

export interface LocalFilter {
  readonly local: LocalRateLimit;
  /** What the filter itself says that requests are; empty: what virtual hosts and routes say. */
  readonly actions: readonly RateLimitDescriptor[];
}

/** Undefined without a bucket: the filter is there for what routes say. */
export function readLocalRateLimit(typed: Fields): LocalFilter | undefined {
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
  const descriptors = fields.objects("descriptors").map(readDescriptor);
  const spareOwnBucket = fields.boolean("always_consume_default_token_bucket") === false;
  const actions = fields.has("rate_limits") ? readRateLimits(fields) : [];
  const bucket = fields.object("token_bucket");
  if (bucket === undefined) {
    if (descriptors.length > 0) fields.problem("token_bucket", "is required beside descriptors");
    for (const name of ["filter_enabled", "filter_enforced"]) fields.raw(name);
    fields.raw("@type");
    fields.refuseUnknown();
    return undefined;
  }
  const own = readBucket(bucket);
  const enabled = readShare(fields, "filter_enabled") * readShare(fields, "filter_enforced");
  fields.raw("@type");
  fields.refuseUnknown();
  const local = create(LocalRateLimitSchema, {
    ...own,
    status: code ?? 0,
    responseHeaders: headers,
    enabledPpm: Math.round(enabled / MILLION),
    descriptors,
    spareOwnBucket,
  });
  return { local, actions };
}

function readBucket(fields: Fields): Pick<DescriptorBucket, "tokens" | "tokensPerFill" | "fillIntervalMs"> {
  const tokens = fields.integer("max_tokens", 1, MAX_TOKENS);
  if (!fields.has("max_tokens")) fields.problem("max_tokens", "is required");
  const tokensPerFill = fields.integer("tokens_per_fill", 1, MAX_TOKENS) ?? 1;
  const interval = readDuration(fields, "fill_interval", LEAST_FILL_MS);
  if (!fields.has("fill_interval")) fields.problem("fill_interval", "is required");
  fields.refuseUnknown();
  return { tokens: tokens ?? 0, tokensPerFill, fillIntervalMs: BigInt(interval ?? 0) };
}

function readDescriptor(fields: Fields): DescriptorBucket {
  const entries = fields.objects("entries").map((entry) => {
    const key = entry.string("key") ?? "";
    const value = entry.string("value") ?? "";
    entry.refuseUnknown();
    if (key === "") entry.problem("key", "is required");
    if (value === "") entry.problem("value", "is required: a bucket for each value is not supported");
    return { key, value };
  });
  const bucket = fields.object("token_bucket");
  fields.refuseUnknown();
  if (entries.length === 0) fields.problem("entries", "must not be empty");
  if (bucket === undefined) fields.problem("token_bucket", "is required");
  return create(DescriptorBucketSchema, { entries, ...(bucket === undefined ? {} : readBucket(bucket)) });
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
