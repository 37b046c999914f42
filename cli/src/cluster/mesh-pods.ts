/** The pods that the mesh consists of: control planes, agents, waypoints. */

import { PODS, type Pod } from "#lib/kube/types.ts";
import type { Context } from "../frame/context.ts";
import { Failure } from "../frame/errors.ts";
import { isReady } from "./pod-state.ts";

export interface MeshPod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly isReady: boolean;
  /** Of a waypoint. */
  readonly gateway?: string;
}

/** Istio's own parts answer the same questions in the same way. */
const AGENTS = "app in (weft-agent, ztunnel)";
const CONTROL = "app in (weft-control, istiod)";
const GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name";

/** Agents, or the one of a node, or one by its name. Throws Failure when there is none. */
export async function agentPods(
  context: Context,
  choice: { readonly node?: string | undefined; readonly pod?: string | undefined } = {},
): Promise<readonly MeshPod[]> {
  const found = await meshPods(context, AGENTS);
  if (found.length === 0) throw nothing(context, "agent");
  const { node, pod } = choice;
  const name = pod?.replace(/^pods?\//, "").split(".")[0];
  const chosen = found.filter(
    (each) => (node === undefined || each.node === node) && (name ?? each.name) === each.name,
  );
  if (chosen.length > 0) return chosen;
  if (name !== undefined) {
    throw new Failure(`there is no agent "${name}"`, `there are: ${found.map((each) => each.name).join(", ")}`);
  }
  throw new Failure(
    `there is no agent on node "${node}"`,
    `nodes with one: ${found.map((each) => each.node).join(", ")}`,
  );
}

export async function controlPods(context: Context): Promise<readonly MeshPod[]> {
  const found = await meshPods(context, CONTROL);
  if (found.length === 0) throw nothing(context, "control plane");
  return found;
}

/** In a namespace, or in all of them. */
export async function waypointPods(context: Context, namespace: string | undefined): Promise<readonly MeshPod[]> {
  const { items } = await context.cluster().client.list(PODS, {
    namespace,
    labelSelector: GATEWAY_LABEL,
    signal: context.signal,
  });
  return items.map(meshPod);
}

async function meshPods(context: Context, labelSelector: string): Promise<MeshPod[]> {
  const { items } = await context.cluster().client.list(PODS, {
    namespace: context.meshNamespace,
    labelSelector,
    signal: context.signal,
  });
  return items.map(meshPod).sort((a, b) => a.node.localeCompare(b.node) || a.name.localeCompare(b.name));
}

function meshPod(pod: Pod): MeshPod {
  const gateway = pod.metadata.labels?.[GATEWAY_LABEL];
  return {
    namespace: pod.metadata.namespace ?? "",
    name: pod.metadata.name,
    node: pod.spec?.nodeName ?? "",
    isReady: isReady(pod),
    ...(gateway === undefined ? {} : { gateway }),
  };
}

function nothing({ meshNamespace }: Context, what: string): Failure {
  return new Failure(
    `there is no ${what} in namespace ${meshNamespace}`,
    "is the mesh installed, and is it there (--mesh-namespace)?",
  );
}
