/** The control plane's configuration: istiod's environment variables where it has one, else our own. */
import type { BlockList } from "node:net";
import { hostname } from "node:os";
import { parseCidr } from "#lib/address.ts";
import {
  type Env,
  EnvError,
  envBoolean,
  envDurationMs,
  envInteger,
  envListen,
  envString,
  type ListenConfig,
} from "#lib/env.ts";
import { DEFAULT_TRUST_DOMAIN } from "#lib/spiffe.ts";
import type { RotationSettings } from "./ca/rotation.ts";
import { MESH_CONTROLLER } from "./l7/gateway-api/controller.ts";
import { blockListOf, DEFAULT_BLOCKED_CIDRS } from "./l7/security/bounded-fetch.ts";
import type { MeshSettings } from "./model/settings.ts";
import type { PushTiming } from "./xds/push-scheduler.ts";

/** Where to listen. */
export interface ListenAddress {
  /** Empty: every address of this machine. */
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

export interface ControlConfig {
  readonly mesh: MeshSettings;
  readonly push: PushTiming;
  readonly replica: string;
  readonly leaseSeconds: number;
  readonly grpc: ListenAddress;
  readonly ready: ListenAddress;
  readonly metrics: ListenAddress;
  /** Admission reviews. */
  readonly admission: ListenAddress;
  /** The ValidatingWebhookConfiguration that gets our roots. */
  readonly webhookConfiguration: string;
  readonly admin: ListenConfig;
  /** DNS names of the serving certificate. */
  readonly servingNames: readonly string[];
  readonly tokenAudiences: readonly string[];
  /** `namespace/account` of the node agents. */
  readonly trustedNodeAccounts: readonly string[];
  readonly defaultCertTtlMs: number;
  readonly maxCertTtlMs: number;
  readonly rotation: RotationSettings;
  readonly rootCheckIntervalMs: number;
  /** Where the keys of token issuers are never fetched from. */
  readonly blockedJwksAddresses: BlockList;
  /** What waypoints' pods run. */
  readonly image: string;
  readonly logLevel: string;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"];

/** Throws EnvError, which names the variable. */
export function controlConfig(env: Env): ControlConfig {
  const rootNamespace = envString(env, "POD_NAMESPACE", "istio-system");
  const clusterDomain = envString(env, "CLUSTER_DOMAIN", "cluster.local");
  const trustDomain = envString(env, "TRUST_DOMAIN", DEFAULT_TRUST_DOMAIN);
  if (!/^[a-z0-9._-]{1,255}$/.test(trustDomain)) {
    throw new EnvError("TRUST_DOMAIN", trustDomain, "lower-case letters, digits, dots, dashes and underscores");
  }
  const defaultCertTtlMs = envDurationMs(env, "DEFAULT_WORKLOAD_CERT_TTL", DAY_MS);
  const maxCertTtlMs = envDurationMs(env, "MAX_WORKLOAD_CERT_TTL", 90 * DAY_MS);
  if (defaultCertTtlMs > maxCertTtlMs) {
    const value = envString(env, "DEFAULT_WORKLOAD_CERT_TTL", "24h");
    throw new EnvError("DEFAULT_WORKLOAD_CERT_TTL", value, "no more than MAX_WORKLOAD_CERT_TTL");
  }
  return {
    mesh: {
      clusterId: envString(env, "CLUSTER_ID", "Kubernetes"),
      trustDomain,
      clusterDomain,
      rootNamespace,
      dryRunPolicies: envBoolean(env, "AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY", false),
      servicesSelectWorkloadEntries: envBoolean(env, "PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES", true),
      waypointClasses: waypointClasses(env),
      autoAllowWaypoint: envBoolean(env, "PILOT_AUTO_ALLOW_WAYPOINT_POLICY", false),
    },
    push: {
      quietMs: envDurationMs(env, "PILOT_DEBOUNCE_AFTER", 10),
      maxMs: envDurationMs(env, "PILOT_DEBOUNCE_MAX", 50),
    },
    replica: envString(env, "POD_NAME", hostname()),
    leaseSeconds: envInteger(env, "WEFT_LEASE_SECONDS", 15, 1, 3_600),
    grpc: listenAddress(env, "SECURE_GRPC_ADDR", ":15012"),
    ready: listenAddress(env, "HTTP_ADDR", ":8080"),
    metrics: listenAddress(env, "MONITORING_ADDR", ":15014"),
    admission: listenAddress(env, "HTTPS_ADDR", ":15017"),
    webhookConfiguration: envString(env, "VALIDATION_WEBHOOK_CONFIG_NAME", `weft-validator-${rootNamespace}`),
    admin: envListen(env, "ADMIN_ADDR", "127.0.0.1:15000"),
    servingNames: servingNames(rootNamespace, clusterDomain, list(env, "ISTIOD_CUSTOM_HOST", "")),
    tokenAudiences: list(env, "TOKEN_AUDIENCES", "istio-ca"),
    trustedNodeAccounts: nodeAccounts(env, `${rootNamespace}/ztunnel,${rootNamespace}/weft-agent`),
    defaultCertTtlMs,
    maxCertTtlMs,
    rotation: {
      organization: trustDomain,
      rootTtlMs: envDurationMs(env, "CITADEL_SELF_SIGNED_CA_CERT_TTL", 3_650 * DAY_MS),
      renewBeforePart: envInteger(env, "CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", 20, 1, 99) / 100,
      // Everybody renews at half life at the latest, and so has both roots by then, with as much again to spare.
      overlapMs: envDurationMs(env, "WEFT_ROOT_OVERLAP", defaultCertTtlMs),
      retireMs: maxCertTtlMs,
    },
    rootCheckIntervalMs: envDurationMs(env, "CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL", HOUR_MS),
    blockedJwksAddresses: blockedJwksAddresses(env),
    image: envString(env, "WEFT_IMAGE", "weft"),
    logLevel: logLevel(env),
  };
}

/** `class=controller`, several with commas between; without a controller it is that of Istio's own class. */
function waypointClasses(env: Env): ReadonlyMap<string, string> {
  const name = "WEFT_WAYPOINT_CLASSES";
  const classes = new Map<string, string>();
  for (const item of list(env, name, "weft-waypoint,istio-waypoint")) {
    const match = /^([a-z0-9.-]{1,253})(?:=([a-z0-9.-]+\/[A-Za-z0-9/._~%-]+))?$/.exec(item);
    if (match?.[1] === undefined) throw new EnvError(name, item, "class or class=domain/controller");
    classes.set(match[1], match[2] ?? MESH_CONTROLLER);
  }
  return classes;
}

function blockedJwksAddresses(env: Env): BlockList {
  const name = "PILOT_BLOCKED_CIDRS_IN_JWKS_URIS";
  const cidrs = list(env, name, DEFAULT_BLOCKED_CIDRS.join(","));
  const wrong = cidrs.find((cidr) => parseCidr(cidr) === undefined);
  if (wrong !== undefined) throw new EnvError(name, wrong, "CIDRs with commas between");
  return blockListOf(cidrs);
}

function servingNames(namespace: string, clusterDomain: string, custom: readonly string[]): string[] {
  const names = ["istiod", "weft-control"].flatMap((service) => [
    `${service}.${namespace}.svc`,
    `${service}.${namespace}`,
    `${service}.${namespace}.svc.${clusterDomain}`,
  ]);
  return [...new Set([...names, "localhost", ...custom])];
}

function nodeAccounts(env: Env, fallback: string): string[] {
  const name = "CA_TRUSTED_NODE_ACCOUNTS";
  const accounts = list(env, name, fallback);
  const wrong = accounts.find((account) => !/^[^/]+\/[^/]+$/.test(account));
  if (wrong !== undefined) throw new EnvError(name, wrong, "namespace/account, several with commas between");
  return accounts;
}

/** `host:port`, `[v6]:port` or `:port`. */
function listenAddress(env: Env, name: string, fallback: string): ListenAddress {
  const value = envString(env, name, fallback);
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new EnvError(name, value, "host:port, [v6]:port or :port");
  return { host: match[1] ?? match[2] ?? "", port };
}

function list(env: Env, name: string, fallback: string): string[] {
  return envString(env, name, fallback)
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

function logLevel(env: Env): string {
  const level = envString(env, "LOG_LEVEL", "info");
  if (!LOG_LEVELS.includes(level)) throw new EnvError("LOG_LEVEL", level, `one of ${LOG_LEVELS.join(", ")}`);
  return level;
}
