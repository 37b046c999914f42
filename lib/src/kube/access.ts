/** Where the Kubernetes API is and how we prove who we are: in-cluster service account, or a kubeconfig. */
import { resolve } from "node:path";
import { type Env, envString } from "../env.ts";
import { KubeAccessError } from "./errors.ts";
import { Kubeconfig } from "./kubeconfig.ts";
import { bearerFromFile, readText } from "./token-file.ts";

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

const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";

/** `KUBECONFIG` when set, else the service account of this pod. */
export function accessFromEnvironment(env: Env, serviceAccountDir = SERVICE_ACCOUNT_DIR): KubeAccess {
  const kubeconfig = envString(env, "KUBECONFIG");
  if (kubeconfig !== undefined) return accessFromKubeconfig(kubeconfig, env);
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

/** The current context of a kubeconfig, or of several with colons between; `env` is what credential plugins run in. */
export function accessFromKubeconfig(paths: string, env: Env = {}): KubeAccess {
  return Kubeconfig.load(paths.split(":").filter((path) => path !== "")).access(env);
}
