/** The agent's configuration. The only file that reads environment variables; names are ztunnel's where it has one. */
import { statSync } from "node:fs";
import { isIP } from "node:net";
import { terminationDeadlineMs } from "#lib/drain.ts";
import {
  type Env,
  EnvError,
  envBoolean,
  envDurationMs,
  envExistingFile,
  envInteger,
  envListen,
  envLogFilter,
  envOneOf,
  envOptionalInteger,
  envString,
  type ListenConfig,
} from "#lib/env.ts";
import type { LogFormat } from "#lib/log.ts";
import {
  defaultControlPlane,
  envMetadata,
  envPeer,
  envProxyConfig,
  envToken,
  type PeerConfig,
  type TokenSource,
} from "#lib/xds/peer.ts";

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
  /** Where the container runtime tells of new pods. */
  readonly nriSocket?: string;
  readonly terminationDeadlineMs: number;
  readonly log: { readonly format: LogFormat; readonly filter: string };
  readonly admin: ListenConfig;
  readonly metrics: ListenConfig;
  readonly ready: ListenConfig;
  readonly istioVersion: string;
}

const MAX_LOOPS = 64;
const DEFAULT_PIN_DIR = "/sys/fs/bpf/weft";

/** Throws EnvError, naming the variable, for the first value that cannot be used. */
export function loadConfig(env: Env): AgentConfig {
  refuseUnsupported(env);
  const nodeName = required(env, "NODE_NAME", "the name of the Kubernetes node that this agent runs on");
  const clusterId = envString(env, "ISTIO_META_CLUSTER_ID") ?? envString(env, "CLUSTER_ID", "Kubernetes");
  const podName = envString(env, "POD_NAME", "");
  const podNamespace = envString(env, "POD_NAMESPACE", "");
  const instanceIp = envString(env, "INSTANCE_IP", "1.1.1.1");
  if (isIP(instanceIp) === 0) throw new EnvError("INSTANCE_IP", instanceIp, "an IP address");
  const localXdsPath = envExistingFile(env, "LOCAL_XDS_PATH");
  const proxy = envProxyConfig(env, MAX_LOOPS);
  const loops = envOptionalInteger(env, "ZTUNNEL_WORKER_THREADS", 1, MAX_LOOPS) ?? proxy.concurrency;
  const podsCgroup = existingFolder(env, "WEFT_PODS_CGROUP");
  const nriSocket = envString(env, "WEFT_NRI_SOCKET");
  const kubeletCgroup = existingFolder(env, "WEFT_KUBELET_CGROUP");
  const xds = envPeer(env, "XDS", proxy.discoveryAddress ?? defaultControlPlane(env));
  const ca = envPeer(env, "CA", defaultControlPlane(env));
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
    metadata: envMetadata(env, {
      NAME: podName,
      NAMESPACE: podNamespace,
      INSTANCE_IPS: instanceIp,
      NODE_NAME: nodeName,
      CLUSTER_ID: clusterId,
    }),
    ...(xds === undefined ? {} : { xds }),
    ...(ca === undefined ? {} : { ca }),
    token: envToken(env),
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
    ...(nriSocket === undefined ? {} : { nriSocket }),
    terminationDeadlineMs: terminationDeadlineMs(
      envString(env, "CONNECTION_TERMINATION_DEADLINE") !== undefined
        ? envDurationMs(env, "CONNECTION_TERMINATION_DEADLINE", 0)
        : undefined,
      envOptionalInteger(env, "TERMINATION_GRACE_PERIOD_SECONDS", 0, 86_400),
    ),
    log: {
      format: envOneOf(env, "LOG_FORMAT", "plain", ["plain", "json"]),
      filter: envLogFilter(env),
    },
    admin: envListen(env, "ADMIN_ADDR", "127.0.0.1:15000"),
    metrics: envListen(env, "STATS_ADDR", "[::]:15020"),
    ready: envListen(env, "READINESS_ADDR", "[::]:15021"),
    istioVersion: envString(env, "ISTIO_META_ISTIO_VERSION", "unknown"),
  };
}

/** The folder of pinned BPF objects, for the `cleanup` subcommand. */
export function pinDirFromEnv(env: Env): string {
  return envString(env, "WEFT_BPFFS_DIR", DEFAULT_PIN_DIR);
}

/** Variables of ztunnel's that ask for what this agent does not do, and the one value that asks for nothing. */
const UNSUPPORTED: readonly (readonly [name: string, harmless: string])[] = [
  ["XDS_ON_DEMAND", "false"],
  ["PROXY_MODE", "shared"],
  ["INPOD_ENABLED", "true"],
  ["ENABLE_PROXY", "true"],
  ["ENABLE_ORIG_SRC", "true"],
  ["ENABLE_RESPONSE_BAGGAGE", "true"],
  ["UNSTABLE_ENABLE_SOCKS5", "false"],
  ["FAKE_CA", "false"],
  ["LOCAL_XDS", ""],
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

/** Kernel keepalive options count whole seconds. */
function seconds(env: Env, name: string, fallbackMs: number): number {
  const ms = envDurationMs(env, name, fallbackMs);
  if (ms < 1000 || ms > 32_767_000) throw new EnvError(name, String(env[name]), "a duration from 1s to 9h");
  return Math.round(ms / 1000);
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
