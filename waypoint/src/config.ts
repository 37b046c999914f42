/**
 * The waypoint's configuration. The only file that reads environment variables; names are those of Istio's own proxy
 * where it has one, and the agent's otherwise.
 */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { terminationDeadlineMs } from "#lib/drain.ts";
import {
  type Env,
  EnvError,
  envDurationMs,
  envExistingFile,
  envListen,
  envLogFilter,
  envOneOf,
  envOptionalInteger,
  envString,
  type ListenConfig,
} from "#lib/env.ts";
import type { LogFormat } from "#lib/log.ts";
import { formatSpiffeId } from "#lib/spiffe.ts";
import {
  defaultControlPlane,
  envMetadata,
  envPeer,
  envProxyConfig,
  envToken,
  type PeerConfig,
  type TokenSource,
} from "#lib/xds/peer.ts";

export type Role = "waypoint" | "router";

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

export interface WaypointConfig {
  readonly role: Role;
  readonly clusterId: string;
  readonly identity: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly instanceIp: string;
  /** Of the pod. */
  readonly labels: Readonly<Record<string, string>>;
  readonly locality: Locality;
  /** Node metadata for the control plane: strings, and JSON values. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Absent: no control plane; the program comes from `localProgramPath`. */
  readonly xds?: PeerConfig;
  readonly ca?: PeerConfig;
  readonly token: TokenSource;
  readonly secretTtlMs: number;
  readonly localProgramPath?: string;
  /** A folder with cert-chain.pem, key.pem and root-cert.pem, in place of the certificate authority. */
  readonly identityPath?: string;
  readonly loops?: number;
  /** Absent: HBONE is not accepted. */
  readonly hbone?: ListenConfig;
  readonly terminationDeadlineMs: number;
  readonly log: { readonly format: LogFormat; readonly filter: string };
  readonly admin: ListenConfig;
  readonly metrics: ListenConfig;
  readonly ready: ListenConfig;
  readonly istioVersion: string;
  /** For tags of spans that name variables. */
  readonly environment: Env;
}

/** Where the kubelet writes the pod's labels for Istio's proxies. */
const POD_LABELS = "/etc/istio/pod/labels";
const MAX_LOOPS = 64;

/** Throws EnvError, naming the variable, for the first value that cannot be used. */
export function loadConfig(env: Env, role: Role): WaypointConfig {
  const clusterId = envString(env, "ISTIO_META_CLUSTER_ID") ?? envString(env, "CLUSTER_ID", "Kubernetes");
  const podName = envString(env, "POD_NAME", "waypoint");
  const podNamespace = envString(env, "POD_NAMESPACE", "default");
  const serviceAccount = envString(env, "SERVICE_ACCOUNT", "default");
  const trustDomain = envString(env, "TRUST_DOMAIN", "cluster.local");
  const instanceIp = envString(env, "INSTANCE_IP", "127.0.0.1");
  if (isIP(instanceIp) === 0) throw new EnvError("INSTANCE_IP", instanceIp, "an IP address");
  const proxy = envProxyConfig(env, MAX_LOOPS);
  const metadata = envMetadata(env, {
    NAME: podName,
    NAMESPACE: podNamespace,
    INSTANCE_IPS: instanceIp,
    NODE_NAME: envString(env, "NODE_NAME", ""),
    CLUSTER_ID: clusterId,
    SERVICE_ACCOUNT: serviceAccount,
  });
  const labels = podLabels(env, metadata.LABELS);
  // Istio's proxies say where the control plane is in other variables than ztunnel does.
  const fallback = proxy.discoveryAddress ?? defaultControlPlane(env);
  const xds = envPeer(env, "XDS", fallback);
  const ca = envPeer(env, "CA", envString(env, "CA_ADDR") ?? fallback);
  const localProgramPath = envExistingFile(env, "LOCAL_XDS_PATH");
  const identityPath = envExistingFile(env, "WEFT_IDENTITY_PATH");
  const loops = envOptionalInteger(env, "WEFT_LOOPS", 1, MAX_LOOPS) ?? proxy.concurrency;
  const hbone = env.HBONE_ADDR === "" || role === "router" ? undefined : envListen(env, "HBONE_ADDR", "[::]:15008");
  return {
    role,
    clusterId,
    identity: formatSpiffeId({ trustDomain, namespace: podNamespace, serviceAccount }),
    podName,
    podNamespace,
    instanceIp,
    labels,
    locality: locality(env, labels),
    metadata: { ...metadata, LABELS: labels },
    ...(xds === undefined || localProgramPath !== undefined ? {} : { xds }),
    ...(ca === undefined ? {} : { ca }),
    token: envToken(env),
    secretTtlMs: envDurationMs(env, "SECRET_TTL", 24 * 3_600_000),
    ...(localProgramPath === undefined ? {} : { localProgramPath }),
    ...(identityPath === undefined ? {} : { identityPath }),
    ...(loops === undefined ? {} : { loops }),
    ...(hbone === undefined ? {} : { hbone }),
    terminationDeadlineMs: terminationDeadlineMs(
      envString(env, "TERMINATION_DRAIN_DURATION_SECONDS") !== undefined
        ? (envOptionalInteger(env, "TERMINATION_DRAIN_DURATION_SECONDS", 0, 86_400) ?? 0) * 1000
        : undefined,
      envOptionalInteger(env, "TERMINATION_GRACE_PERIOD_SECONDS", 0, 86_400),
    ),
    log: { format: envOneOf(env, "LOG_FORMAT", "plain", ["plain", "json"]), filter: envLogFilter(env) },
    admin: envListen(env, "ADMIN_ADDR", "127.0.0.1:15000"),
    metrics: envListen(env, "STATS_ADDR", "[::]:15020"),
    ready: envListen(env, "READINESS_ADDR", "[::]:15021"),
    istioVersion: envString(env, "ISTIO_META_ISTIO_VERSION", "unknown"),
    environment: env,
  };
}

/** From the metadata when they are there (`ISTIO_METAJSON_LABELS`), else from the kubelet's file. */
function podLabels(env: Env, fromMetadata: unknown): Readonly<Record<string, string>> {
  if (typeof fromMetadata === "object" && fromMetadata !== null) {
    return Object.fromEntries(Object.entries(fromMetadata).map(([key, value]) => [key, String(value)]));
  }
  const path = envString(env, "POD_LABELS_PATH", POD_LABELS);
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return {};
  }
  return Object.fromEntries([...text.matchAll(/^([^=\n]+)="((?:[^"\\\n]|\\.)*)"$/gm)].map(([, key, v]) => [key, v]));
}

/** `region/zone/subzone`; in a label, where a slash must not be, dots stand for slashes. */
function locality(env: Env, labels: Readonly<Record<string, string>>): Locality {
  const text = envString(env, "WEFT_LOCALITY") ?? labels["istio-locality"]?.replaceAll(".", "/") ?? "";
  const [region = "", zone = "", subzone = "", ...rest] = text.split("/");
  if (rest.length > 0) throw new EnvError("WEFT_LOCALITY", text, "region/zone/subzone");
  return { region, zone, subzone };
}
