/** How a process reaches the control plane: addresses, roots, tokens, and what it says of itself. */
import { existsSync } from "node:fs";
import { type Env, EnvError, envString, envWithPrefix } from "#lib/env.ts";

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

const DEFAULT_ROOT = "./var/run/secrets/istio/root-cert.pem";
const DEFAULT_TOKEN = "./var/run/secrets/tokens/istio-token";
const METADATA_PREFIX = "ISTIO_META_";
const JSON_METADATA_PREFIX = "ISTIO_METAJSON_";

export function defaultControlPlane(env: Env): string {
  return envString(env, "KUBERNETES_SERVICE_HOST") === undefined
    ? "https://localhost:15012"
    : "https://istiod.istio-system.svc:15012";
}

/** An address that is set to nothing switches the peer off. */
export function envPeer(env: Env, prefix: "XDS" | "CA", fallback: string): PeerConfig | undefined {
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
    root: envRoot(env, `${prefix}_ROOT_CA`),
    ...(alternativeHost === undefined ? {} : { alternativeHost }),
    headers: envWithPrefix(env, `${prefix}_HEADER_`),
  };
}

function envRoot(env: Env, name: string): RootSource {
  const value = envString(env, name, DEFAULT_ROOT);
  if (value === "SYSTEM") return { kind: "system" };
  if (value.includes("-----BEGIN CERTIFICATE-----")) return { kind: "pem", pem: value };
  // A file need not exist yet: the control plane may write it later, and it is read for every connection.
  if (!value.includes("/")) throw new EnvError(name, value, "a file, a PEM text or SYSTEM");
  return { kind: "file", path: value };
}

export function envToken(env: Env): TokenSource {
  const value = envString(env, "AUTH_TOKEN");
  if (value === undefined) return existsSync(DEFAULT_TOKEN) ? { kind: "file", path: DEFAULT_TOKEN } : { kind: "none" };
  return value.includes("/") || existsSync(value) ? { kind: "file", path: value } : { kind: "static", token: value };
}

/** Node metadata: `own`, then what `ISTIO_META_*` and `ISTIO_METAJSON_*` add or replace. */
export function envMetadata(env: Env, own: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const result: Record<string, unknown> = { ...own, ...envWithPrefix(env, METADATA_PREFIX) };
  for (const [key, text] of Object.entries(envWithPrefix(env, JSON_METADATA_PREFIX))) {
    try {
      result[key] = JSON.parse(text);
    } catch {
      throw new EnvError(`${JSON_METADATA_PREFIX}${key}`, text, "JSON");
    }
  }
  return result;
}

export interface ProxyConfig {
  readonly discoveryAddress?: string;
  readonly concurrency?: number;
}

/** What Istio hands its proxies as one variable: JSON, or YAML with a value a line. Two of its fields are ours. */
export function envProxyConfig(env: Env, maxConcurrency: number): ProxyConfig {
  const text = envString(env, "PROXY_CONFIG", "");
  const field = (name: string) =>
    new RegExp(`(?:^|[{,\\n])\\s*"?${name}"?\\s*:\\s*"?([^",}\\n\\s]+)"?`).exec(text)?.[1];
  const discoveryAddress = field("discoveryAddress");
  const concurrency = Number(field("concurrency") ?? 0);
  if (!Number.isInteger(concurrency) || concurrency < 0 || concurrency > maxConcurrency) {
    throw new EnvError("PROXY_CONFIG", text, `concurrency from 0 to ${maxConcurrency}`);
  }
  return {
    ...(discoveryAddress === undefined ? {} : { discoveryAddress }),
    // 0 is Istio's word for "as many as there are cores".
    ...(concurrency === 0 ? {} : { concurrency }),
  };
}
