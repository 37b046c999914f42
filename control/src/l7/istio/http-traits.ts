/** What a VirtualService's http rule does to requests on their way, beside choosing a destination. */
import { create } from "@bufbuild/protobuf";
import {
  type Cors,
  CorsSchema,
  type Fault,
  FaultSchema,
  type HeaderOps,
  HeaderOpsSchema,
  RetryOn,
  type RetryPolicy,
  RetryPolicySchema,
  type Rewrite,
  RewriteSchema,
  type StringMatch,
  StringMatchSchema,
} from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { checkRegex, durationMs, isHeaderName, readDuration, readPercent, readStringMatch } from "./values.ts";

const RETRY_ON: ReadonlyMap<string, RetryOn> = new Map([
  ["5xx", RetryOn.FIVE_XX],
  ["gateway-error", RetryOn.GATEWAY_ERROR],
  ["reset", RetryOn.RESET],
  ["reset-before-request", RetryOn.RESET_BEFORE_REQUEST],
  ["connect-failure", RetryOn.CONNECT_FAILURE],
  ["retriable-4xx", RetryOn.RETRIABLE_4XX],
  ["refused-stream", RetryOn.REFUSED_STREAM],
  ["retriable-status-codes", RetryOn.RETRIABLE_STATUS_CODES],
  ["retriable-headers", RetryOn.RETRIABLE_HEADERS],
  ["envoy-ratelimited", RetryOn.ENVOY_RATELIMITED],
  ["cancelled", RetryOn.CANCELLED],
  ["deadline-exceeded", RetryOn.DEADLINE_EXCEEDED],
  ["internal", RetryOn.INTERNAL],
  ["resource-exhausted", RetryOn.RESOURCE_EXHAUSTED],
  ["unavailable", RetryOn.UNAVAILABLE],
]);
/** Of QUIC, which the engine does not speak. */
const NEVER_HAPPENS = "http3-post-connect-failure";
const DEFAULT_ON = [
  RetryOn.CONNECT_FAILURE,
  RetryOn.REFUSED_STREAM,
  RetryOn.UNAVAILABLE,
  RetryOn.CANCELLED,
  RetryOn.RETRIABLE_STATUS_CODES,
];

/** When nobody says anything: an answer of the application, also a 503, is never retried by it. */
export const DEFAULT_RETRY: RetryPolicy = create(RetryPolicySchema, {
  attempts: 2,
  on: DEFAULT_ON,
  avoidPreviousHosts: true,
});

const GRPC_STATUS: readonly string[] = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"]);
const MAX_ATTEMPTS = 1_000;

/** Null: never. */
export function readRetries(fields: Fields): RetryPolicy | null {
  const attempts = fields.integer("attempts", -MAX_ATTEMPTS, MAX_ATTEMPTS);
  const perTryTimeoutMs = readDuration(fields, "perTryTimeout");
  const text = fields.string("retryOn");
  const otherPriorities = fields.boolean("retryRemoteLocalities") ?? false;
  const avoid = fields.boolean("retryIgnorePreviousHosts");
  const backoff = readDuration(fields, "backoff");
  fields.refuseUnknown();
  if ((attempts ?? 0) <= 0) {
    if (
      ["perTryTimeout", "retryOn", "retryRemoteLocalities", "retryIgnorePreviousHosts", "backoff"].some((name) =>
        fields.has(name),
      )
    ) {
      fields.problem("attempts", "must be set beside other fields of retries");
    }
    return null;
  }
  const { on, codes } = readRetryOn(fields, text ?? "");
  return create(RetryPolicySchema, {
    attempts: attempts ?? 0,
    on,
    codes,
    perTryTimeoutMs: BigInt(perTryTimeoutMs ?? 0),
    backoffBaseMs: BigInt(backoff ?? 0),
    otherPriorities,
    avoidPreviousHosts: avoid ?? true,
  });
}

function readRetryOn(fields: Fields, text: string): { on: RetryOn[]; codes: number[] } {
  const on: RetryOn[] = [];
  const codes: number[] = [];
  for (const part of text.split(",").map((each) => each.trim())) {
    const known = RETRY_ON.get(part);
    if (known !== undefined) on.push(known);
    else if (/^[1-5]\d\d$/.test(part)) codes.push(Number(part));
    else if (part !== "" && part !== NEVER_HAPPENS) fields.problem("retryOn", `"${part}" is no reason to retry`);
  }
  if (text === "") return { on: [...DEFAULT_ON], codes };
  if (codes.length > 0 && !on.includes(RetryOn.RETRIABLE_STATUS_CODES)) on.push(RetryOn.RETRIABLE_STATUS_CODES);
  return { on, codes };
}

/** Without a percentage a fault never happens. */
export function readFault(fields: Fields): Fault {
  const fault = create(FaultSchema);
  const delay = fields.object("delay");
  if (delay !== undefined) {
    fault.delayMs = BigInt(readDuration(delay, "fixedDelay") ?? 0);
    if (!delay.has("fixedDelay")) delay.problem("fixedDelay", "is required");
    fault.delayPpm = readPercent(delay, "percentage") ?? (delay.integer("percent", 0, 100) ?? 0) * 10_000;
    delay.refuseUnknown();
  }
  const abort = fields.object("abort");
  if (abort !== undefined) {
    const status = abort.integer("httpStatus", 200, 600);
    const grpc = abort.string("grpcStatus");
    if (status !== undefined) fault.abortStatus = status;
    if (grpc !== undefined) {
      const code = GRPC_STATUS.indexOf(grpc);
      if (code < 0) abort.problem("grpcStatus", `"${grpc}" is no status of gRPC such as UNAVAILABLE`);
      else fault.abortGrpcStatus = code;
    }
    if ((status === undefined) === (grpc === undefined)) abort.problem("", "needs one of httpStatus and grpcStatus");
    fault.abortPpm = readPercent(abort, "percentage") ?? 0;
    abort.refuseUnknown();
  }
  if (delay === undefined && abort === undefined) fields.problem("", "needs delay or abort");
  fields.refuseUnknown();
  return fault;
}

export function readCors(fields: Fields): Cors {
  const origins: StringMatch[] = fields
    .strings("allowOrigin")
    .map((value) => create(StringMatchSchema, { kind: { case: "exact", value } }));
  for (const origin of fields.objects("allowOrigins")) {
    const match = readStringMatch(origin);
    if (match !== undefined) origins.push(match);
  }
  const methods = fields.strings("allowMethods");
  for (const [index, method] of methods.entries()) {
    if (!METHODS.has(method)) fields.problem(`allowMethods[${index}]`, `"${method}" is no method`);
  }
  const maxAge = fields.string("maxAge");
  const maxAgeMs = maxAge === undefined ? undefined : durationMs(maxAge);
  if (maxAge !== undefined && (maxAgeMs === undefined || maxAgeMs % 1_000 !== 0)) {
    fields.problem("maxAge", "must be a duration of whole seconds");
  }
  const unmatched = fields.oneOf("unmatchedPreflights", ["UNSPECIFIED", "FORWARD", "IGNORE"]);
  const cors = create(CorsSchema, {
    allowOrigins: origins,
    allowMethods: methods,
    allowHeaders: fields.strings("allowHeaders"),
    exposeHeaders: fields.strings("exposeHeaders"),
    ...(maxAgeMs === undefined ? {} : { maxAgeS: BigInt(Math.floor(maxAgeMs / 1_000)) }),
    allowCredentials: fields.boolean("allowCredentials") ?? false,
    ignoreUnmatchedPreflights: unmatched === "IGNORE",
  });
  fields.refuseUnknown();
  return cors;
}

export function readRewrite(fields: Fields, matchedByRegex: boolean): Rewrite {
  const rewrite = create(RewriteSchema, { authority: fields.string("authority") ?? "" });
  const uri = fields.string("uri");
  const regex = fields.object("uriRegexRewrite");
  if (uri !== undefined && regex !== undefined) fields.problem("uriRegexRewrite", "must not be set beside uri");
  if (uri) rewrite.path = matchedByRegex ? { case: "full", value: uri } : { case: "prefix", value: uri };
  if (regex !== undefined) {
    const pattern = regex.string("match") ?? "";
    const replacement = regex.string("rewrite") ?? "";
    regex.refuseUnknown();
    if (pattern === "") regex.problem("match", "is required");
    else checkRegex(regex, "match", pattern);
    if (!regex.has("rewrite")) regex.problem("rewrite", "is required");
    rewrite.path = { case: "regex", value: { $typeName: "weft.l7.RegexRewrite", pattern, replacement } };
  }
  fields.refuseUnknown();
  if (!uri && regex === undefined && rewrite.authority === "")
    fields.problem("", "needs uri, uriRegexRewrite or authority");
  return rewrite;
}

export interface HeadersFacts {
  readonly requestHeaders?: HeaderOps;
  readonly responseHeaders?: HeaderOps;
  /** `Host` among the request's headers to set. */
  readonly authority?: string;
}

export function readHeaders(fields: Fields | undefined): HeadersFacts {
  if (fields === undefined) return {};
  const request = fields.object("request");
  const response = fields.object("response");
  fields.refuseUnknown();
  const forRequest = request && readOps(request);
  const forResponse = response && readOps(response);
  if (response !== undefined && forResponse?.authority !== undefined) response.problem("set", "cannot touch Host");
  return {
    ...(forRequest === undefined ? {} : { requestHeaders: forRequest.ops }),
    ...(forResponse === undefined ? {} : { responseHeaders: forResponse.ops }),
    ...(forRequest?.authority === undefined ? {} : { authority: forRequest.authority }),
  };
}

function readOps(fields: Fields): { ops: HeaderOps; authority: string | undefined } {
  const ops = create(HeaderOpsSchema);
  let authority: string | undefined;
  for (const kind of ["set", "add"] as const) {
    for (const [name, value] of Object.entries(fields.map(kind))) {
      const lower = name.toLowerCase();
      if (lower === "host" || lower === ":authority") {
        if (kind === "add" || authority !== undefined) fields.problem(kind, "Host can only be set, and once");
        authority = value;
      } else if (!isHeaderName(name)) fields.problem(kind, `"${name}" is no name of a header`);
      else ops[kind].push({ $typeName: "weft.l7.HeaderValue", name: lower, value });
    }
  }
  for (const [index, name] of fields.strings("remove").entries()) {
    const lower = name.toLowerCase();
    if (lower === "host" || !isHeaderName(name)) fields.problem(`remove[${index}]`, `"${name}" cannot be removed`);
    else ops.remove.push(lower);
  }
  fields.refuseUnknown();
  return { ops, authority };
}
