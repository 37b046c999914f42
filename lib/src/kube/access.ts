/** Where the Kubernetes API is and how we prove who we are: in-cluster service account, or a kubeconfig. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { type Env, envString } from "../env.ts";

/** Everything needed to open an authenticated connection. */
export interface KubeAccess {
  /** `https://host:port` or `http://host:port`, without a path. */
  readonly server: string;
  /** PEM of the authorities that sign the API server's certificate; absent means those of the system. */
  readonly ca?: string;
  /** PEM of a client certificate and its key. */
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
  readonly skipTlsVerify?: boolean;
  /** The value of the `authorization` header, read anew whenever it may have been rotated. */
  readonly authorization?: () => string;
}

/** No usable way to the API; the message says what was looked for. */
export class KubeAccessError extends Error {
  override readonly name = "KubeAccessError";
}

const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";
/** Tokens are rotated well before they expire; kubelet's shortest life is 10 minutes. */
const TOKEN_REREAD_MS = 30_000;

/** `KUBECONFIG` when set, else the service account of this pod. */
export function accessFromEnvironment(env: Env, serviceAccountDir = SERVICE_ACCOUNT_DIR): KubeAccess {
  const kubeconfig = envString(env, "KUBECONFIG");
  if (kubeconfig !== undefined) return accessFromKubeconfig(kubeconfig);
  const host = envString(env, "KUBERNETES_SERVICE_HOST");
  if (host === undefined) {
    throw new KubeAccessError(
      "no way to the Kubernetes API: set KUBECONFIG, or run in a pod (KUBERNETES_SERVICE_HOST is not set)",
    );
  }
  const port = envString(env, "KUBERNETES_SERVICE_PORT", "443");
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    ca: readText(resolve(serviceAccountDir, "ca.crt")),
    authorization: bearerFromFile(resolve(serviceAccountDir, "token")),
  };
}

/** The current context of a kubeconfig file. Credential plugins (`exec`, `auth-provider`) are not offered. */
export function accessFromKubeconfig(path: string): KubeAccess {
  const config = asRecord(parse(readText(path)), path);
  const contextName = asText(config["current-context"]) ?? "";
  const context = asRecord(named(config, "contexts", "context", contextName, path), path);
  const cluster = asRecord(named(config, "clusters", "cluster", asText(context.cluster) ?? "", path), path);
  const user = asRecord(named(config, "users", "user", asText(context.user) ?? "", path), path);
  for (const plugin of ["exec", "auth-provider"]) {
    if (user[plugin] !== undefined) {
      throw new KubeAccessError(`${path}: user "${context.user}" needs ${plugin}; use a token or a certificate`);
    }
  }
  const server = asText(cluster.server);
  if (server === undefined) throw new KubeAccessError(`${path}: cluster "${context.cluster}" names no server`);
  const base = dirname(path);
  const ca = pem(cluster, "certificate-authority", base);
  const cert = pem(user, "client-certificate", base);
  const key = pem(user, "client-key", base);
  const servername = asText(cluster["tls-server-name"]);
  const authorization = userAuthorization(user, base);
  return {
    server: server.replace(/\/+$/, ""),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(servername === undefined ? {} : { servername }),
    ...(cluster["insecure-skip-tls-verify"] === true ? { skipTlsVerify: true } : {}),
    ...(authorization === undefined ? {} : { authorization }),
  };
}

function userAuthorization(user: Record<string, unknown>, base: string): (() => string) | undefined {
  const tokenFile = asText(user.tokenFile);
  if (tokenFile !== undefined) return bearerFromFile(resolve(base, tokenFile));
  const token = asText(user.token);
  if (token !== undefined) return () => `Bearer ${token}`;
  const username = asText(user.username);
  if (username === undefined) return undefined;
  const basic = Buffer.from(`${username}:${asText(user.password) ?? ""}`).toString("base64");
  return () => `Basic ${basic}`;
}

function bearerFromFile(path: string): () => string {
  let header = "";
  let readAt = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - readAt > TOKEN_REREAD_MS) {
      header = `Bearer ${readText(path).trim()}`;
      readAt = now;
    }
    return header;
  };
}

/** `<field>-data` (base64) or the file named by `<field>`. */
function pem(from: Record<string, unknown>, field: string, base: string): string | undefined {
  const data = asText(from[`${field}-data`]);
  if (data !== undefined) return Buffer.from(data, "base64").toString("utf8");
  const file = asText(from[field]);
  return file === undefined ? undefined : readText(resolve(base, file));
}

function named(config: Record<string, unknown>, list: string, field: string, name: string, path: string): unknown {
  const entries: unknown = config[list];
  const found = Array.isArray(entries) ? entries.find((entry) => asRecord(entry, path).name === name) : undefined;
  if (found === undefined) throw new KubeAccessError(`${path}: no entry "${name}" in ${list}`);
  return asRecord(found, path)[field] ?? {};
}

function asRecord(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new KubeAccessError(`${path}: not a kubeconfig`);
  }
  return value as Record<string, unknown>;
}

function asText(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function readText(path: string): string {
  if (!existsSync(path)) throw new KubeAccessError(`${path}: no such file`);
  return readFileSync(path, "utf8");
}
