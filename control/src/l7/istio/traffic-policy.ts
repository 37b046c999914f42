/** What a DestinationRule says of talking to a set of endpoints, in blocks that are inherited one by one. */
import { create } from "@bufbuild/protobuf";
import {
  type ConnectionPool,
  ConnectionPoolSchema,
  HashCookieSchema,
  type HashKey,
  HashKeySchema,
  type LoadBalancer,
  LoadBalancer_Algorithm,
  LoadBalancerSchema,
  type LocalitySetting,
  LocalitySettingSchema,
  type OutlierDetection,
  OutlierDetectionSchema,
  type RetryBudget,
  RetryBudgetSchema,
  TcpKeepaliveSchema,
  WarmupSchema,
} from "#proto/l7_pb.ts";
import type { Fields } from "../../model/fields.ts";
import { readTls, type TlsFacts } from "./tls-settings.ts";
import { readDuration } from "./values.ts";

export interface TrafficBlocks {
  readonly loadBalancer?: LoadBalancerFacts;
  readonly pool?: PoolFacts;
  readonly outlier?: OutlierDetection;
  readonly tls?: TlsFacts;
  readonly proxyProtocolV2?: boolean;
  readonly retryBudget?: RetryBudget;
}

export interface TrafficPolicyFacts extends TrafficBlocks {
  /** These stand in place of all blocks for a port. */
  readonly ports: ReadonlyMap<number, TrafficBlocks>;
}

export interface LoadBalancerFacts {
  readonly message: LoadBalancer;
  /** The address asked for is the endpoint. */
  readonly passthrough: boolean;
  /** Null: switched off. Absent: that of the mesh. */
  readonly locality?: LocalitySetting | null;
}

export interface PoolFacts {
  readonly message: ConnectionPool;
  readonly connectTimeoutMs: number;
  readonly upgrade: boolean | undefined;
  readonly useClientProtocol: boolean;
}

const UINT32 = 0xffff_ffff;
const MAX_MAGLEV = 5_000_011;
const SECONDS = 1_000;

export function readTrafficPolicy(fields: Fields): TrafficPolicyFacts {
  const ports = new Map<number, TrafficBlocks>();
  for (const setting of fields.objects("portLevelSettings")) {
    const selector = setting.object("port");
    const number = selector?.integer("number", 1, 65_535);
    selector?.refuseUnknown();
    const blocks = readBlocks(setting);
    setting.refuseUnknown();
    if (number === undefined) setting.problem("port.number", "is required");
    else if (ports.has(number)) setting.problem("port.number", `${number} is there twice`);
    else ports.set(number, blocks);
  }
  const blocks = readBlocks(fields);
  if (fields.names().length === 0) fields.problem("", "must not be empty");
  if (fields.has("tunnel")) fields.unsupported("tunnel", "is not supported: waypoints tunnel by HBONE");
  fields.refuseUnknown();
  return { ...blocks, ports };
}

function readBlocks(fields: Fields): TrafficBlocks {
  const loadBalancer = fields.object("loadBalancer");
  const pool = fields.object("connectionPool");
  const outlier = fields.object("outlierDetection");
  const tls = fields.object("tls");
  const proxy = fields.object("proxyProtocol");
  const budget = fields.object("retryBudget");
  const version = proxy?.oneOf("version", ["V1", "V2"]) ?? "V1";
  proxy?.refuseUnknown();
  if (proxy !== undefined && version === "V1") proxy.unsupported("version", "only V2 is supported");
  return {
    ...(loadBalancer === undefined ? {} : { loadBalancer: readLoadBalancer(loadBalancer) }),
    ...(pool === undefined ? {} : { pool: readPool(pool) }),
    ...(outlier === undefined ? {} : { outlier: readOutlier(outlier) }),
    ...(tls === undefined ? {} : { tls: readTls(tls) }),
    ...(proxy === undefined ? {} : { proxyProtocolV2: true }),
    ...(budget === undefined ? {} : { retryBudget: readBudget(budget) }),
  };
}

const SIMPLE = {
  UNSPECIFIED: LoadBalancer_Algorithm.LEAST_REQUEST,
  LEAST_CONN: LoadBalancer_Algorithm.LEAST_REQUEST,
  LEAST_REQUEST: LoadBalancer_Algorithm.LEAST_REQUEST,
  RANDOM: LoadBalancer_Algorithm.RANDOM,
  ROUND_ROBIN: LoadBalancer_Algorithm.ROUND_ROBIN,
  PASSTHROUGH: LoadBalancer_Algorithm.LEAST_REQUEST,
} as const;

function readLoadBalancer(fields: Fields): LoadBalancerFacts {
  const message = create(LoadBalancerSchema);
  const simple = fields.oneOf("simple", Object.keys(SIMPLE) as (keyof typeof SIMPLE)[]);
  const hash = fields.object("consistentHash");
  if (simple !== undefined) message.algorithm = SIMPLE[simple];
  if (simple !== undefined && hash !== undefined) fields.problem("consistentHash", "must not be set beside simple");
  if (hash !== undefined) readHash(hash, message);
  const warmup = fields.object("warmup");
  const oldWarmup = readDuration(fields, "warmupDurationSecs");
  if (warmup !== undefined || oldWarmup !== undefined) {
    message.warmup = create(WarmupSchema, {
      durationMs: BigInt((warmup && readDuration(warmup, "duration")) ?? oldWarmup ?? 0),
      minimumPercent: warmup?.number("minimumPercent", 0, 100) ?? 0,
      aggression: warmup?.number("aggression", 0, UINT32) ?? 0,
    });
    if (warmup !== undefined && !warmup.has("duration")) warmup.problem("duration", "is required");
    if (warmup?.raw("aggression") === 0) warmup.problem("aggression", "must be above 0");
    warmup?.refuseUnknown();
  }
  const locality = fields.object("localityLbSetting");
  // As at Istio's waypoints: those go by localities where sidecars go by zones.
  if (fields.has("zoneAwareLbSetting") && locality !== undefined)
    fields.problem("zoneAwareLbSetting", "must not be set beside localityLbSetting");
  fields.refuseUnknown();
  return {
    message,
    passthrough: simple === "PASSTHROUGH",
    ...(locality === undefined ? {} : { locality: readLocality(locality) }),
  };
}

function readHash(fields: Fields, message: LoadBalancer): void {
  const keys: HashKey[] = [];
  const key = (kind: HashKey["kind"]) => keys.push(create(HashKeySchema, { kind }));
  const header = fields.string("httpHeaderName");
  if (header !== undefined) key({ case: "header", value: header.toLowerCase() });
  const cookie = fields.object("httpCookie");
  if (cookie !== undefined) {
    const ttl = cookie.has("ttl") ? readDuration(cookie, "ttl", 0) : undefined;
    const attributes = cookie.objects("attributes").map((attribute) => {
      const name = attribute.string("name") ?? "";
      const value = attribute.string("value") ?? "";
      attribute.refuseUnknown();
      return value === "" ? name : `${name}=${value}`;
    });
    const value = create(HashCookieSchema, {
      name: cookie.string("name") ?? "",
      path: cookie.string("path") ?? "",
      ...(ttl === undefined ? {} : { ttlMs: BigInt(ttl) }),
      attributes,
    });
    cookie.refuseUnknown();
    if (value.name === "") cookie.problem("name", "is required");
    key({ case: "cookie", value });
  }
  if (fields.boolean("useSourceIp") === true) key({ case: "sourceIp", value: true });
  const query = fields.string("httpQueryParameterName");
  if (query !== undefined) key({ case: "queryParameter", value: query });
  if (keys.length !== 1)
    fields.problem("", "needs one of httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName");
  const ring = fields.object("ringHash");
  const maglev = fields.object("maglev");
  const old = fields.integer("minimumRingSize", 0, UINT32);
  if (ring !== undefined && maglev !== undefined) fields.problem("maglev", "must not be set beside ringHash");
  message.hash = keys;
  message.algorithm = maglev === undefined ? LoadBalancer_Algorithm.RING_HASH : LoadBalancer_Algorithm.MAGLEV;
  message.minRingSize = ring?.integer("minimumRingSize", 0, UINT32) ?? old ?? 0;
  if (maglev !== undefined) {
    const size = maglev.integer("tableSize", 1, MAX_MAGLEV - 1);
    if (size !== undefined && !isPrime(size)) maglev.problem("tableSize", "must be a prime");
    message.maglevTableSize = size ?? 0;
  }
  ring?.refuseUnknown();
  maglev?.refuseUnknown();
  fields.refuseUnknown();
}

function isPrime(value: number): boolean {
  if (value < 2) return false;
  for (let divisor = 2; divisor * divisor <= value; divisor++) if (value % divisor === 0) return false;
  return true;
}

/** Null when it is switched off. */
export function readLocality(fields: Fields): LocalitySetting | null {
  const message = create(LocalitySettingSchema, { failover: true });
  const enabled = fields.boolean("enabled") ?? true;
  for (const entry of fields.objects("distribute")) {
    const to: Record<string, number> = {};
    const targets = entry.object("to");
    let sum = 0;
    for (const name of targets?.names() ?? []) {
      const share = targets?.integer(name, 1, 100) ?? 0;
      to[name] = share;
      sum += share;
    }
    if (sum !== 100) entry.problem("to", `shares must add up to 100, not ${sum}`);
    message.distribute.push({ $typeName: "weft.l7.LocalitySetting.Distribute", from: entry.string("from") ?? "", to });
    if (!entry.has("from")) entry.problem("from", "is required");
    entry.refuseUnknown();
  }
  for (const entry of fields.objects("failover")) {
    const from = entry.string("from") ?? "";
    const to = entry.string("to") ?? "";
    entry.refuseUnknown();
    for (const region of [from, to]) {
      if (region === "" || /[/*]/.test(region)) entry.problem("", `"${region}" is no region`);
    }
    if (from === to) entry.problem("to", "must be another region");
    message.failovers.push({ $typeName: "weft.l7.LocalitySetting.Failover", from, to });
  }
  message.failoverPriority = fields.strings("failoverPriority");
  fields.refuseUnknown();
  if (message.distribute.length > 0 && message.failovers.length + message.failoverPriority.length > 0) {
    fields.problem("distribute", "must not be set beside failover or failoverPriority");
  }
  if (message.distribute.length > 0) message.failover = false;
  return enabled ? message : null;
}

/** 0 is the default everywhere, not nothing. */
function readPool(fields: Fields): PoolFacts {
  const message = create(ConnectionPoolSchema);
  const tcp = fields.object("tcp");
  const http = fields.object("http");
  fields.refuseUnknown();
  if (tcp === undefined && http === undefined) fields.problem("", "needs tcp or http");
  message.maxConnections = tcp?.integer("maxConnections", 0, UINT32) ?? 0;
  const connectTimeoutMs = (tcp && readDuration(tcp, "connectTimeout")) ?? 0;
  message.maxConnectionDurationMs = BigInt((tcp && readDuration(tcp, "maxConnectionDuration")) ?? 0);
  const idle = tcp && readDuration(tcp, "idleTimeout", 0);
  if (idle !== undefined) message.tcpIdleMs = BigInt(idle);
  const keepalive = tcp?.object("tcpKeepalive");
  if (keepalive !== undefined) {
    message.keepalive = create(TcpKeepaliveSchema, {
      timeS: Math.ceil((readDuration(keepalive, "time") ?? 0) / SECONDS),
      intervalS: Math.ceil((readDuration(keepalive, "interval") ?? 0) / SECONDS),
      probes: keepalive.integer("probes", 0, UINT32) ?? 0,
    });
    keepalive.refuseUnknown();
  }
  tcp?.refuseUnknown();
  message.maxPendingRequests = http?.integer("http1MaxPendingRequests", 0, UINT32) ?? 0;
  message.maxRequests = http?.integer("http2MaxRequests", 0, UINT32) ?? 0;
  message.maxRequestsPerConnection = http?.integer("maxRequestsPerConnection", 0, UINT32) ?? 0;
  message.maxRetries = http?.integer("maxRetries", 0, UINT32) ?? 0;
  message.maxConcurrentStreams = http?.integer("maxConcurrentStreams", 0, UINT32) ?? 0;
  message.httpIdleMs = BigInt((http && readDuration(http, "idleTimeout")) ?? 0);
  const upgrade = http?.oneOf("h2UpgradePolicy", ["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]) ?? "DEFAULT";
  const useClientProtocol = http?.boolean("useClientProtocol") ?? false;
  http?.refuseUnknown();
  if (upgrade === "UPGRADE" && useClientProtocol) http?.problem("useClientProtocol", "must not be set beside UPGRADE");
  return {
    message,
    connectTimeoutMs,
    upgrade: upgrade === "DEFAULT" ? undefined : upgrade === "UPGRADE",
    useClientProtocol,
  };
}

function readOutlier(fields: Fields): OutlierDetection {
  const split = fields.boolean("splitExternalLocalOriginErrors") ?? false;
  const errorCodes = (fields.raw("outlierDetectionHttpErrorCodes") ?? []) as unknown[];
  const message = create(OutlierDetectionSchema, {
    consecutive5xx: fields.integer("consecutive5xxErrors", 0, UINT32) ?? 5,
    consecutiveGatewayErrors: fields.integer("consecutiveGatewayErrors", 0, UINT32) ?? 0,
    splitLocalOrigin: split,
    consecutiveLocalOrigin: split ? (fields.integer("consecutiveLocalOriginFailures", 0, UINT32) ?? 5) : 0,
    intervalMs: BigInt(readDuration(fields, "interval") ?? 10_000),
    baseEjectionMs: BigInt(readDuration(fields, "baseEjectionTime") ?? 30_000),
    maxEjectionPercent: fields.integer("maxEjectionPercent", 0, 100) ?? 10,
    minHealthPercent: fields.integer("minHealthPercent", 0, 100) ?? 0,
  });
  fields.integer("consecutiveLocalOriginFailures", 0, UINT32);
  for (const code of Array.isArray(errorCodes) ? errorCodes : [undefined]) {
    if (typeof code === "number" && Number.isInteger(code) && code >= 100 && code <= 599) message.errorCodes.push(code);
    else fields.problem("outlierDetectionHttpErrorCodes", "must be codes from 100 to 599");
  }
  // Old manifests carry it, and mean what it became.
  const old = fields.integer("consecutiveErrors", 0, UINT32);
  if (old !== undefined && !fields.has("consecutive5xxErrors")) message.consecutive5xx = old;
  fields.refuseUnknown();
  return message;
}

function readBudget(fields: Fields): RetryBudget {
  const wrapped = typeof fields.raw("percent") === "object" ? fields.object("percent") : undefined;
  const share = (wrapped === undefined ? fields.number("percent", 0, 100) : wrapped.number("value", 0, 100)) ?? 20;
  const message = create(RetryBudgetSchema, {
    percentPpm: Math.round(share * 10_000),
    minConcurrency: fields.integer("minRetryConcurrency", 0, UINT32) ?? 3,
  });
  fields.refuseUnknown();
  return message;
}
