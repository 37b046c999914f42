/** `envoy.filters.http.ratelimit`, and the `rate_limits` of virtual hosts and routes that say what its service is asked. */
import { create } from "@bufbuild/protobuf";
import {
  type HeaderMatch,
  type RateLimitDescriptor,
  RateLimitDescriptorSchema,
  type RateLimitEntry,
  type StringMatch,
} from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { checkRegex, isHeaderName, readDuration } from "../istio/values.ts";
import type { ProviderService } from "../provider-service.ts";
import { typedConfig } from "./typed-config.ts";

export const GLOBAL_FILTER = "envoy.filters.http.ratelimit";
const TYPE = "envoy.extensions.filters.http.ratelimit.v3.RateLimit";
/** As Istio calls the cluster of a service without a subset. */
const CLUSTER = /^outbound\|(\d{1,5})\|\|([^|]+)$/;

export interface RateLimitService {
  readonly domain: string;
  readonly service: ProviderService;
  readonly authority: string;
  /** 0: Envoy's 20 ms. */
  readonly timeoutMs: number;
  readonly failClosed: boolean;
}

export function readRateLimitService(typed: Fields): RateLimitService | undefined {
  const fields = typedConfig(typed, TYPE);
  if (fields === undefined) return undefined;
  fields.raw("@type");
  const domain = fields.string("domain") ?? "";
  if (domain === "") fields.problem("domain", "is required");
  const failClosed = fields.boolean("failure_mode_deny") ?? false;
  const timeoutMs = readDuration(fields, "timeout") ?? 0;
  fields.string("stat_prefix");
  const limiter = fields.object("rate_limit_service");
  limiter?.oneOf("transport_api_version", ["V3"]);
  const grpc = limiter?.object("grpc_service");
  const envoy = grpc?.object("envoy_grpc");
  const cluster = CLUSTER.exec(envoy?.string("cluster_name") ?? "");
  const authority = envoy?.string("authority") ?? "";
  for (const each of [envoy, grpc, limiter, fields]) each?.refuseUnknown();
  if (cluster === null) {
    const where = "rate_limit_service.grpc_service.envoy_grpc.cluster_name";
    fields.problem(
      where,
      'must be the cluster of a service, such as "outbound|8081||ratelimit.shop.svc.cluster.local"',
    );
    return undefined;
  }
  const [, port = "", host = ""] = cluster;
  const service = { host: host.toLowerCase(), namespace: "", port: Number(port) };
  return { domain, service, authority: authority === "" ? service.host : authority, timeoutMs, failClosed };
}

/** One descriptor for each list of actions. */
export function readRateLimits(fields: Fields): RateLimitDescriptor[] {
  return fields.objects("rate_limits").map((limit) => {
    limit.integer("stage", 0, 0);
    const entries = limit.objects("actions").flatMap(readAction);
    limit.refuseUnknown();
    if (entries.length === 0) limit.problem("actions", "must not be empty");
    return create(RateLimitDescriptorSchema, { entries });
  });
}

type Entry = Pick<RateLimitEntry, "key" | "value"> & Partial<Pick<RateLimitEntry, "skipIfAbsent">>;

function readAction(fields: Fields): Entry[] {
  const [name, ...more] = fields.names();
  const action = name === undefined ? undefined : fields.object(name);
  if (action === undefined || more.length > 0) {
    fields.problem("", "must be one action");
    return [];
  }
  const entry = readKnown(fields, name as string, action);
  action.refuseUnknown();
  return entry === undefined ? [] : [entry];
}

function readKnown(fields: Fields, name: string, action: Fields): Entry | undefined {
  switch (name) {
    case "generic_key": {
      const value = required(action, "descriptor_value");
      return { key: action.string("descriptor_key") || "generic_key", value: { case: "literal", value } };
    }
    case "request_headers": {
      const header = required(action, "header_name").toLowerCase();
      if (!isHeaderField(header)) action.problem("header_name", `"${header}" is no name of a header`);
      const skipIfAbsent = action.boolean("skip_if_absent") ?? false;
      return { key: required(action, "descriptor_key"), value: { case: "header", value: header }, skipIfAbsent };
    }
    case "remote_address":
      return { key: "remote_address", value: { case: "remoteAddress", value: true } };
    case "header_value_match": {
      const value = required(action, "descriptor_value");
      const expectMatch = action.boolean("expect_match") ?? true;
      const key = action.string("descriptor_key") || "header_match";
      const headers = action.objects("headers").map(readHeader);
      if (headers.length === 0) action.problem("headers", "must not be empty");
      return { key, value: { case: "headerValueMatch", value: { value, expectMatch, headers } as never } };
    }
    default:
      fields.problem(name, "is no action that a waypoint knows");
      return undefined;
  }
}

const OLD_MATCHES = { exact_match: "exact", prefix_match: "prefix", suffix_match: "suffix" } as const;

function readHeader(
  fields: Fields,
): Pick<HeaderMatch, "name" | "invert"> & { value: Pick<StringMatch, "kind" | "ignoreCase"> } {
  const name = required(fields, "name").toLowerCase();
  if (!isHeaderField(name)) fields.problem("name", `"${name}" is no name of a header`);
  const text = fields.object("string_match");
  const ignoreCase = text?.boolean("ignore_case") ?? false;
  const found: StringMatch["kind"][] = [];
  for (const kind of ["exact", "prefix", "suffix"] as const) {
    const value = text?.string(kind);
    if (value !== undefined) found.push({ case: kind, value });
  }
  for (const [old, kind] of Object.entries(OLD_MATCHES)) {
    const value = fields.string(old);
    if (value !== undefined) found.push({ case: kind, value });
  }
  const regex = text?.object("safe_regex") ?? fields.object("safe_regex_match");
  const pattern = regex?.string("regex");
  regex?.refuseUnknown();
  if (regex !== undefined && pattern !== undefined && checkRegex(regex, "regex", pattern)) {
    found.push({ case: "regex", value: pattern });
  }
  if (fields.boolean("present_match") === true) found.push({ case: "present", value: true });
  text?.refuseUnknown();
  fields.refuseUnknown();
  const [kind = { case: undefined }] = found;
  if (found.length !== 1) fields.problem("", "must have one match");
  return { name, invert: false, value: { kind, ignoreCase } };
}

function isHeaderField(name: string): boolean {
  return isHeaderName(name) || [":path", ":method", ":authority", ":scheme"].includes(name);
}

function required(fields: Fields, name: string): string {
  const value = fields.string(name) ?? "";
  if (value === "") fields.problem(name, "is required");
  return value;
}
