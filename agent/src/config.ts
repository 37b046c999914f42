/** The agent's configuration. The only file that reads environment variables; names are ztunnel's where it has one. */
import { existsSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { terminationDeadlineMs } from "#lib/drain.ts";
import { type Env, EnvError, envBoolean, envDurationMs, envInteger, envOneOf, envString } from "#lib/env.ts";
import { LevelFilter, type LogFormat } from "#lib/log.ts";

/** How to reach one gRPC server of the control plane. */
export interface PeerConfig {
  /** `https://host:port`. */
  readonly address: string;
  readonly root: RootSource;
  /** A second DNS name that the server's certificate may carry. */
  readonly alternativeHost?: string;
  /** Extra request metadata. */
  readonly headers: Readonly<Record<string, string>>;
}

/** `file`: read again for every connection. */
export type RootSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "system" }
  | { readonly kind: "pem"; readonly pem: string };

export type TokenSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "static"; readonly token: string }
  | { readonly kind: "none" };

export interface ListenConfig {
  readonly host: string;
  readonly port: number;
}

export interface AgentConfig {
  readonly nodeName: string;
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly network: string;
  readonly trustDomain: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly instanceIp: string;
  /** Node metadata for the control plane: strings, and JSON values. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Absent: no control plane; resources come from `localXdsPath`. */
  readonly xds?: PeerConfig;
  readonly ca?: PeerConfig;
  readonly token: TokenSource;
  readonly localXdsPath?: string;
  readonly secretTtlMs: number;
  readonly dns: { readonly enabled: boolean; readonly preferredNamespace?: string; readonly resolvConf: string };
  readonly ipv6: boolean;
  readonly excludedNamespaces: readonly string[];
  readonly engine: {
    readonly loops?: number;
    readonly maxStreamsPerConnection: number;
    readonly poolUnusedReleaseMs: number;
    readonly streamWindowBytes: number;
    readonly connectionWindowBytes: number;
    readonly frameBytes: number;
    readonly keepalive: {
      readonly enabled: boolean;
      readonly timeSec: number;
      readonly intervalSec: number;
      readonly retries: number;
    };
  };
  readonly bpf: {
    readonly pinDir: string;
    readonly podsCgroup?: string;
    readonly kubeletCgroup?: string;
  };
  readonly terminationDeadlineMs: number;
  readonly log: { readonly format: LogFormat; readonly filter: string };
  readonly admin: ListenConfig;
  readonly metrics: ListenConfig;
  readonly ready: ListenConfig;
  readonly istioVersion: string;
}

const DEFAULT_ROOT = "./var/run/secrets/istio/root-cert.pem";
const DEFAULT_TOKEN = "./var/run/secrets/tokens/istio-token";
const DEFAULT_PIN_DIR = "/sys/fs/bpf/weft";
const METADATA_PREFIX = "ISTIO_META_";
const JSON_METADATA_PREFIX = "ISTIO_METAJSON_";

/** Throws EnvError, naming the variable, for the first value that cannot be used. */
export function loadConfig(env: Env): AgentConfig {
  refuseUnsupported(env);
  const nodeName = required(env, "NODE_NAME", "the name of the Kubernetes node that this agent runs on");
  const clusterId = envString(env, "ISTIO_META_CLUSTER_ID") ?? envString(env, "CLUSTER_ID", "Kubernetes");
  const podName = envString(env, "POD_NAME", "");
  const podNamespace = envString(env, "POD_NAMESPACE", "");
  const instanceIp = envString(env, "INSTANCE_IP", "1.1.1.1");
  if (isIP(instanceIp) === 0) throw new EnvError("INSTANCE_IP", instanceIp, "an IP address");
  const localXdsPath = existingFile(env, "LOCAL_XDS_PATH");
  const loops = optionalInteger(env, "ZTUNNEL_WORKER_THREADS", 1, 64);
  const podsCgroup = existingFolder(env, "WEFT_PODS_CGROUP");
  const kubeletCgroup = existingFolder(env, "WEFT_KUBELET_CGROUP");
  const xds = peer(env, "XDS", defaultControlPlane(env));
  const ca = peer(env, "CA", defaultControlPlane(env));
  const preferredNamespace = envString(env, "PREFERED_SERVICE_NAMESPACE");
  return {
    nodeName,
    clusterId,
    clusterDomain: envString(env, "CLUSTER_DOMAIN", "cluster.local"),
    network: envString(env, "NETWORK", ""),
    trustDomain: envString(env, "TRUST_DOMAIN", "cluster.local"),
    podName,
    podNamespace,
    instanceIp,
    metadata: metadata(env, { podName, podNamespace, instanceIp, nodeName, clusterId }),
    ...(xds === undefined ? {} : { xds }),
    ...(ca === undefined ? {} : { ca }),
    token: token(env),
    ...(localXdsPath === undefined ? {} : { localXdsPath }),
    secretTtlMs: envDurationMs(env, "SECRET_TTL", 24 * 3_600_000),
    dns: {
      enabled: envBoolean(env, "ISTIO_META_DNS_CAPTURE", true),
      ...(preferredNamespace === undefined ? {} : { preferredNamespace }),
      resolvConf: envString(env, "WEFT_RESOLV_CONF", "/etc/resolv.conf"),
    },
    ipv6: envBoolean(env, "IPV6_ENABLED", true),
    excludedNamespaces: list(envString(env, "WEFT_EXCLUDE_NAMESPACES", "kube-system")),
    engine: {
      ...(loops === undefined ? {} : { loops }),
      maxStreamsPerConnection: envInteger(env, "POOL_MAX_STREAMS_PER_CONNECTION", 100, 1, 65_535),
      poolUnusedReleaseMs: envDurationMs(env, "POOL_UNUSED_RELEASE_TIMEOUT", 300_000),
      streamWindowBytes: envInteger(env, "HTTP2_STREAM_WINDOW_SIZE", 4 << 20, 65_535, 0x7fffffff),
      connectionWindowBytes: envInteger(env, "HTTP2_CONNECTION_WINDOW_SIZE", 16 << 20, 65_535, 0x7fffffff),
      frameBytes: envInteger(env, "HTTP2_FRAME_SIZE", 1 << 20, 16_384, 0xffffff),
      keepalive: {
        enabled: envBoolean(env, "KEEPALIVE_ENABLED", true),
        timeSec: seconds(env, "KEEPALIVE_TIME", 180_000),
        intervalSec: seconds(env, "KEEPALIVE_INTERVAL", 180_000),
        retries: envInteger(env, "KEEPALIVE_RETRIES", 9, 1, 127),
      },
    },
    bpf: {
      pinDir: envString(env, "WEFT_BPFFS_DIR", DEFAULT_PIN_DIR),
      ...(podsCgroup === undefined ? {} : { podsCgroup }),
      ...(kubeletCgroup === undefined ? {} : { kubeletCgroup }),
    },
    terminationDeadlineMs: terminationDeadlineMs(
      envString(env, "CONNECTION_TERMINATION_DEADLINE") !== undefined
        ? envDurationMs(env, "CONNECTION_TERMINATION_DEADLINE", 0)
        : undefined,
      optionalInteger(env, "TERMINATION_GRACE_PERIOD_SECONDS", 0, 86_400),
    ),
    log: {
      format: envOneOf(env, "LOG_FORMAT", "plain", ["plain", "json"]),
      filter: logFilter(env),
    },
    admin: listen(env, "ADMIN_ADDR", "127.0.0.1:15000"),
    metrics: listen(env, "STATS_ADDR", "[::]:15020"),
    ready: listen(env, "READINESS_ADDR", "[::]:15021"),
    istioVersion: envString(env, "ISTIO_META_ISTIO_VERSION", "unknown"),
  };
}

/** The folder of pinned BPF objects, for the `cleanup` subcommand. */
export function pinDirFromEnv(env: Env): string {
  return envString(env, "WEFT_BPFFS_DIR", DEFAULT_PIN_DIR);
}

function defaultControlPlane(env: Env): string {
  return envString(env, "KUBERNETES_SERVICE_HOST") === undefined
    ? "https://localhost:15012"
    : "https://istiod.istio-system.svc:15012";
}

/** An address that is set to nothing switches the peer off. */
function peer(env: Env, prefix: "XDS" | "CA", fallback: string): PeerConfig | undefined {
  const given = env[`${prefix}_ADDRESS`] ?? fallback;
  if (given === "") return undefined;
  const address = given.includes("://") ? given : `https://${given}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || url.protocol !== "https:" || url.hostname === "") {
    throw new EnvError(`${prefix}_ADDRESS`, given, "https://host:port, or nothing to switch it off");
  }
  const alternativeHost = envString(env, `ALT_${prefix}_HOSTNAME`);
  return {
    address,
    root: root(env, `${prefix}_ROOT_CA`),
    ...(alternativeHost === undefined ? {} : { alternativeHost }),
    headers: withPrefix(env, `${prefix}_HEADER_`),
  };
}

function root(env: Env, name: string): RootSource {
  const value = envString(env, name, DEFAULT_ROOT);
  if (value === "SYSTEM") return { kind: "system" };
  if (value.includes("-----BEGIN CERTIFICATE-----")) return { kind: "pem", pem: value };
  // A file need not exist yet: the control plane may write it later, and it is read for every connection.
  if (!value.includes("/")) throw new EnvError(name, value, "a file, a PEM text or SYSTEM");
  return { kind: "file", path: value };
}

function token(env: Env): TokenSource {
  const value = envString(env, "AUTH_TOKEN");
  if (value === undefined) return existsSync(DEFAULT_TOKEN) ? { kind: "file", path: DEFAULT_TOKEN } : { kind: "none" };
  return value.includes("/") || existsSync(value) ? { kind: "file", path: value } : { kind: "static", token: value };
}

function metadata(
  env: Env,
  own: { podName: string; podNamespace: string; instanceIp: string; nodeName: string; clusterId: string },
): Record<string, unknown> {
  const result: Record<string, unknown> = {
    NAME: own.podName,
    NAMESPACE: own.podNamespace,
    INSTANCE_IPS: own.instanceIp,
    NODE_NAME: own.nodeName,
    CLUSTER_ID: own.clusterId,
    ...withPrefix(env, METADATA_PREFIX),
  };
  for (const [key, text] of Object.entries(withPrefix(env, JSON_METADATA_PREFIX))) {
    try {
      result[key] = JSON.parse(text);
    } catch {
      throw new EnvError(`${JSON_METADATA_PREFIX}${key}`, text, "JSON");
    }
  }
  return result;
}

function withPrefix(env: Env, prefix: string): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith(prefix) && name.length > prefix.length && value !== undefined) {
      result[name.slice(prefix.length)] = value;
    }
  }
  return result;
}

function listen(env: Env, name: string, fallback: string): ListenConfig {
  const value = envString(env, name, fallback);
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new EnvError(name, value, "host:port, port 0 for any free one");
  return { host: match[1] ?? match[2] ?? "", port };
}

function logFilter(env: Env): string {
  const value = envString(env, "RUST_LOG", "info");
  try {
    LevelFilter.parse(value);
  } catch {
    throw new EnvError(
      "RUST_LOG",
      value,
      "a level (trace, debug, info, warn, error, off), then scope=level, comma-separated",
    );
  }
  return value;
}

/** Variables of ztunnel's that ask for what this agent does not do, and the one value that asks for nothing. */
const UNSUPPORTED: readonly (readonly [name: string, harmless: string])[] = [
  ["XDS_ON_DEMAND", "false"],
  ["PROXY_MODE", "shared"],
  ["TLS12_ENABLED", "false"],
  ["CRL_PATH", ""],
  ["COMPLIANCE_POLICY", ""],
];

/** To start without a revocation list or a policy that somebody relies on would be worse than not to start. */
function refuseUnsupported(env: Env): void {
  for (const [name, harmless] of UNSUPPORTED) {
    const value = envString(env, name, harmless);
    if (value === harmless) continue;
    throw new EnvError(name, value, `${harmless === "" ? "nothing" : `"${harmless}"`}; this agent does not support it`);
  }
}

function required(env: Env, name: string, what: string): string {
  const value = envString(env, name);
  if (value === undefined) throw new EnvError(name, "", what);
  return value;
}

function optionalInteger(env: Env, name: string, min: number, max: number): number | undefined {
  return envString(env, name) === undefined ? undefined : envInteger(env, name, min, min, max);
}

/** Kernel keepalive options count whole seconds. */
function seconds(env: Env, name: string, fallbackMs: number): number {
  const ms = envDurationMs(env, name, fallbackMs);
  if (ms < 1000 || ms > 32_767_000) throw new EnvError(name, String(env[name]), "a duration from 1s to 9h");
  return Math.round(ms / 1000);
}

function existingFile(env: Env, name: string): string | undefined {
  const value = envString(env, name);
  if (value !== undefined && !existsSync(value)) throw new EnvError(name, value, "a file that exists");
  return value;
}

function existingFolder(env: Env, name: string): string | undefined {
  const value = envString(env, name);
  if (value !== undefined && !statSync(value, { throwIfNoEntry: false })?.isDirectory()) {
    throw new EnvError(name, value, "a folder that exists");
  }
  return value;
}

function list(text: string): readonly string[] {
  return text
    .split(",")
    .map((piece) => piece.trim())
    .filter((piece) => piece !== "");
}
