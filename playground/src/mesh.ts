/** The mesh in a playground: the real control plane and one real agent per node, from deploy/. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { accessFromKubeconfig } from "#lib/kube/access.ts";
import { KubeClient } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import type { KubeObject, ResourceType } from "#lib/kube/types.ts";
import { applyFolder } from "./apply.ts";
import type { Pod } from "./kinds/types.ts";
import type { HostAddress, Playground } from "./playground.ts";

export interface AgentAddresses {
  readonly metrics: HostAddress;
  readonly readiness: HostAddress;
}

export interface Mesh {
  /** By node, reachable from this machine. */
  readonly agents: ReadonlyMap<string, AgentAddresses>;
}

const DEPLOY = resolve(import.meta.dirname, "../../deploy");
const NAMESPACE = "istio-system";
const METRICS_PORT = 15_020;
const READINESS_PORT = 15_021;
const POLL_MS = 50;

function apps(kind: string, plural: string): ResourceType<KubeObject & { status?: Record<string, number> }> {
  return { group: "apps", version: "v1", kind, plural, namespaced: true };
}

const PODS: ResourceType<Pod & KubeObject> = {
  group: "",
  version: "v1",
  kind: "Pod",
  plural: "pods",
  namespaced: true,
};

/** Resolves when the control plane and the agents are ready. Rejects with what is not, and why, after `withinMs`. */
export async function deployMesh(playground: Playground, withinMs = 60_000): Promise<Mesh> {
  const client = new KubeClient(accessFromKubeconfig(playground.kubeconfig));
  try {
    for (const folder of ["crds", "manifests"]) {
      if (existsSync(join(DEPLOY, folder))) await applyFolder(client, join(DEPLOY, folder));
    }
    const agents = new Map<string, AgentAddresses>();
    for (const { name, number } of playground.nodes) {
      const host = playground.plan.node(number).v4;
      const metrics = await playground.expose(name, { host, port: METRICS_PORT }, `${name}/metrics`);
      const readiness = await playground.expose(name, { host, port: READINESS_PORT }, `${name}/ready`);
      agents.set(name, { metrics, readiness });
    }
    const deadline = performance.now() + withinMs;
    while (!(await isReady(client, playground.nodes.length))) {
      if (performance.now() > deadline)
        throw new Error(`the mesh is not ready after ${withinMs} ms: ${await complaint(client)}`);
      await new Promise((wake) => setTimeout(wake, POLL_MS));
    }
    return { agents };
  } finally {
    client.close();
  }
}

async function isReady(client: KubeClient, nodes: number): Promise<boolean> {
  const ready = async (type: ReturnType<typeof apps>, name: string, field: string) => {
    try {
      return (await client.get(type, { namespace: NAMESPACE, name })).status?.[field] ?? 0;
    } catch (error) {
      if (isNotFound(error)) return 0;
      throw error;
    }
  };
  if ((await ready(apps("Deployment", "deployments"), "weft-control", "availableReplicas")) === 0) return false;
  return (await ready(apps("DaemonSet", "daemonsets"), "weft-agent", "numberReady")) === nodes;
}

/** Which pods are not ready, and what their containers say. */
async function complaint(client: KubeClient): Promise<string> {
  const { items } = await client.list(PODS, { namespace: NAMESPACE });
  const unready = items.flatMap((pod) =>
    (pod.status.containerStatuses ?? [])
      .filter((each) => !each.ready)
      .map((each) => {
        const { waiting, terminated } = each.state;
        const state =
          waiting?.message ?? waiting?.reason ?? (terminated ? `exit code ${terminated.exitCode}` : "not ready");
        return `${pod.metadata.name} (${state}, ${each.restartCount} restarts)`;
      }),
  );
  return unready.length === 0
    ? `there are no pods in ${NAMESPACE}`
    : `${unready.join(", ")}; see kubectl -n ${NAMESPACE} logs`;
}
