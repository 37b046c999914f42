/** ReplicaSets: as many pods as wished. */
import { clone, controllerOf } from "../api/objects.ts";
import { isActive, isReady, type Pod, type ReplicaSet } from "../kinds/types.ts";
import { type Context, type Controller, keyOfObject } from "./context.ts";
import { Reconciler } from "./reconciler.ts";

/** Pods made or removed in one go; the rest follows when these show up. */
const BURST = 500;

export function replicaSetController(context: Context): Controller {
  const queue = new Reconciler(
    "replica set",
    (key) => reconcile(context, queue, key),
    (text) => context.report(text),
  );
  const stops = [
    context.follow("replicasets", (set) => queue.enqueue(keyOfObject(set))),
    context.follow("pods", (pod) => {
      const owner = controllerOf(pod);
      if (owner?.kind === "ReplicaSet") queue.enqueue(`${pod.metadata.namespace}/${owner.name}`);
    }),
  ];
  return {
    close() {
      for (const stop of stops) stop();
      queue.close();
    },
  };
}

export function podsOf(context: Context, ownerUid: string): Pod[] {
  return [...context.all<Pod>("pods")].filter((pod) => controllerOf(pod)?.uid === ownerUid);
}

/** Milliseconds until the pod counts as available (0: it does), or undefined while it is not ready. */
export function availableIn(pod: Pod, minReadySeconds: number): number | undefined {
  if (!isReady(pod)) return undefined;
  const since = pod.status.conditions?.find((each) => each.type === "Ready")?.lastTransitionTime;
  return Math.max(0, Date.parse(since ?? "") + minReadySeconds * 1000 - Date.now()) || 0;
}

function reconcile(context: Context, queue: Reconciler, key: string): void {
  const set = context.find<ReplicaSet>("replicasets", key);
  if (set === undefined) return;
  const pods = podsOf(context, set.metadata.uid).filter(isActive);
  if (set.metadata.deletionTimestamp === undefined) scale(context, set, pods);
  updateStatus(context, queue, set);
}

function scale(context: Context, set: ReplicaSet, pods: readonly Pod[]): void {
  const wanted = set.spec.replicas ?? 1;
  const missing = Math.min(wanted - pods.length, BURST);
  const { registry } = context;
  const { namespace, name, uid } = set.metadata;
  for (let i = 0; i < missing; i++) {
    try {
      const pod = registry.create(context.resource("pods"), namespace, {
        metadata: {
          ...clone(set.spec.template.metadata ?? {}),
          generateName: `${name}-`,
          ownerReferences: [
            { apiVersion: "apps/v1", kind: "ReplicaSet", name, uid, controller: true, blockOwnerDeletion: true },
          ],
        },
        spec: clone(set.spec.template.spec),
      });
      context.event(set, "Normal", "SuccessfulCreate", `Created pod: ${pod.metadata.name}`, "replicaset-controller");
    } catch (error) {
      const message = `Error creating: ${error instanceof Error ? error.message : String(error)}`;
      context.event(set, "Warning", "FailedCreate", message, "replicaset-controller");
      throw error;
    }
  }
  if (missing >= 0) return;
  for (const pod of [...pods].sort(worstFirst).slice(0, Math.min(-missing, BURST))) {
    registry.delete(context.resource("pods"), namespace, pod.metadata.name);
    context.event(set, "Normal", "SuccessfulDelete", `Deleted pod: ${pod.metadata.name}`, "replicaset-controller");
  }
}

/** Which pods go first: without a node, not ready, younger. */
function worstFirst(a: Pod, b: Pod): number {
  const rank = (pod: Pod) => (pod.spec.nodeName === undefined ? 0 : isReady(pod) ? 2 : 1);
  return rank(a) - rank(b) || Number(b.metadata.resourceVersion) - Number(a.metadata.resourceVersion);
}

function updateStatus(context: Context, queue: Reconciler, set: ReplicaSet): void {
  const pods = podsOf(context, set.metadata.uid).filter(isActive);
  const waits = pods.map((pod) => availableIn(pod, set.spec.minReadySeconds ?? 0));
  const soonest = Math.min(...waits.filter((wait) => wait !== undefined && wait > 0).map(Number));
  if (Number.isFinite(soonest)) queue.enqueueAfter(keyOfObject(set), soonest);
  const ready = pods.filter(isReady).length;
  const available = waits.filter((wait) => wait === 0).length;
  context.registry.setStatus(context.resource("replicasets"), set, {
    observedGeneration: set.metadata.generation,
    replicas: pods.length,
    fullyLabeledReplicas: pods.length,
    readyReplicas: ready,
    availableReplicas: available,
  });
}
