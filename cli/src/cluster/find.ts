/** Finds the cluster that the flags and the environment name. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Env } from "#lib/env.ts";
import { accessFromEnvironment } from "#lib/kube/access.ts";
import { KubeClient } from "#lib/kube/client.ts";
import { KubeAccessError } from "#lib/kube/errors.ts";
import { Kubeconfig } from "#lib/kube/kubeconfig.ts";
import type { Cluster } from "../frame/context.ts";

const DEFAULT_NAMESPACE = "default";

export interface ClusterChoice {
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
}

/** `--kubeconfig`, `$KUBECONFIG`, `~/.kube/config`, or the pod's service account. Throws KubeAccessError. */
export function findCluster(env: Env, { kubeconfig, context }: ClusterChoice): Cluster {
  const files = kubeconfig === undefined ? defaultFiles(env) : [kubeconfig];
  if (files === undefined) {
    if (env.KUBERNETES_SERVICE_HOST === undefined) {
      throw new KubeAccessError("no cluster is named: give --kubeconfig, set KUBECONFIG, or have ~/.kube/config");
    }
    const access = accessFromEnvironment(env);
    const description = `the service account of this pod`;
    return { access, client: new KubeClient(access), description, defaultNamespace: DEFAULT_NAMESPACE };
  }
  const config = Kubeconfig.load(files);
  const access = config.access(env, context);
  return {
    access,
    client: new KubeClient(access),
    description: `context "${context ?? config.currentContext}" of ${config.source}`,
    defaultNamespace: config.namespace(context) ?? DEFAULT_NAMESPACE,
  };
}

function defaultFiles(env: Env): readonly string[] | undefined {
  const named = (env.KUBECONFIG ?? "").split(":").filter((path) => path !== "");
  if (named.length > 0) return named;
  const home = join(env.HOME ?? "/", ".kube", "config");
  return existsSync(home) ? [home] : undefined;
}
