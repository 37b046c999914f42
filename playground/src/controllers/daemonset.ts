/** DaemonSets: one pod on every node that fits; old pods are exchanged a few at a time. */
import { clone, controllerOf } from "../api/objects.ts";
import { type DaemonSet, isFinished, isReady, type NodeObject, type Pod } from "../kinds/types.ts";
import { type Context, type Controller, keyOfObject } from "./context.ts";
import { Reconciler } from "./reconciler.ts";
import { podsOf } from "./replicaset.ts";
import { fitsNode } from "./scheduler.ts";
import { templateHash } from "./template-hash.ts";

const HASH_LABEL = "controller-revision-hash";

export function daemonSetController(context: Context): Controller {
  const queue = new Reconciler(
    "daemon set",
    (key) => reconcile(context, key),
    (text) => context.report(text),
  );
  const stops = [
    context.follow("daemonsets", (set) => queue.enqueue(keyOfObject(set))),
    context.follow("pods", (pod) => {
      const owner = controllerOf(pod);
      if (owner?.kind === "DaemonSet") queue.enqueue(`${pod.metadata.namespace}/${owner.name}`);
    }),
    context.follow("nodes", () => {
      for (const set of context.all("daemonsets")) queue.enqueue(keyOfObject(set));
    }),
  ];
  return {
    close() {
      for (const stop of stops) stop();
      queue.close();
    },
  };
}

function reconcile(context: Context, key: string): void {
  const set = context.find<DaemonSet>("daemonsets", key);
  if (set === undefined || set.metadata.deletionTimestamp !== undefined) return;
  const nodes = [...context.all<NodeObject>("nodes")].filter((node) => fitsNode(set.spec.template.spec, node));
  const hash = templateHash(set.spec.template);
  const pods = podsOf(context, set.metadata.uid);
  const resource = context.resource("pods");
  const remove = (pod: Pod) => {
    if (pod.metadata.deletionTimestamp !== undefined) return;
    context.registry.delete(resource, pod.metadata.namespace, pod.metadata.name);
  };

  for (const pod of pods) {
    // A pod that has ended makes room for a new one; one on a node that no longer fits goes.
    if (isFinished(pod) || !nodes.some((node) => node.metadata.name === pod.spec.nodeName)) remove(pod);
  }
  for (const node of nodes) {
    if (!pods.some((pod) => pod.spec.nodeName === node.metadata.name)) createPod(context, set, node, hash);
  }
  if (set.spec.updateStrategy?.type !== "OnDelete") {
    const outdated = pods.filter((pod) => pod.metadata.labels?.[HASH_LABEL] !== hash && !isFinished(pod));
    const unavailable = nodes.length - pods.filter((pod) => isReady(pod) && !isLeaving(pod)).length;
    const allowed = maxUnavailable(set, nodes.length);
    const unready = outdated.filter((pod) => !isReady(pod));
    const ready = outdated.filter((pod) => isReady(pod) && !isLeaving(pod));
    for (const pod of [...unready, ...ready.slice(0, Math.max(0, allowed - unavailable))]) remove(pod);
  }
  updateStatus(context, set, nodes.length, hash);
}

function isLeaving(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp !== undefined;
}

function maxUnavailable(set: DaemonSet, nodes: number): number {
  const value = set.spec.updateStrategy?.rollingUpdate?.maxUnavailable ?? 1;
  return typeof value === "number" ? value : Math.max(1, Math.ceil((Number.parseFloat(value) / 100) * nodes));
}

function createPod(context: Context, set: DaemonSet, node: NodeObject, hash: string): void {
  const { namespace, name, uid } = set.metadata;
  const template = clone(set.spec.template);
  const pod = context.registry.create(context.resource("pods"), namespace, {
    metadata: {
      ...template.metadata,
      labels: { ...template.metadata?.labels, [HASH_LABEL]: hash },
      generateName: `${name}-`,
      ownerReferences: [
        { apiVersion: "apps/v1", kind: "DaemonSet", name, uid, controller: true, blockOwnerDeletion: true },
      ],
    },
    spec: { ...template.spec, nodeName: node.metadata.name },
  });
  context.event(set, "Normal", "SuccessfulCreate", `Created pod: ${pod.metadata.name}`, "daemonset-controller");
}

function updateStatus(context: Context, set: DaemonSet, wanted: number, hash: string): void {
  const pods = podsOf(context, set.metadata.uid).filter((pod) => !isLeaving(pod) && !isFinished(pod));
  const ready = pods.filter(isReady).length;
  context.registry.setStatus(context.resource("daemonsets"), set, {
    observedGeneration: set.metadata.generation,
    desiredNumberScheduled: wanted,
    currentNumberScheduled: pods.length,
    numberMisscheduled: 0,
    numberReady: ready,
    numberAvailable: ready,
    ...(wanted > ready ? { numberUnavailable: wanted - ready } : {}),
    updatedNumberScheduled: pods.filter((pod) => pod.metadata.labels?.[HASH_LABEL] === hash).length,
  });
}
