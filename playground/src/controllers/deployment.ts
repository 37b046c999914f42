/** Deployments: one ReplicaSet per version of the pod template, exchanged step by step. */
import { clone, controllerOf, timestamp } from "../api/objects.ts";
import type { Condition, Deployment, ReplicaSet } from "../kinds/types.ts";
import { type Context, type Controller, keyOfObject } from "./context.ts";
import { Reconciler } from "./reconciler.ts";
import { podsOf } from "./replicaset.ts";
import { templateHash } from "./template-hash.ts";

const HASH_LABEL = "pod-template-hash";
const REVISION = "deployment.kubernetes.io/revision";

export function deploymentController(context: Context): Controller {
  const queue = new Reconciler(
    "deployment",
    (key) => reconcile(context, key),
    (text) => context.report(text),
  );
  const stops = [
    context.follow("deployments", (deployment) => queue.enqueue(keyOfObject(deployment))),
    context.follow("replicasets", (set) => {
      const owner = controllerOf(set);
      if (owner?.kind === "Deployment") queue.enqueue(`${set.metadata.namespace}/${owner.name}`);
    }),
    // Recreate waits for the last old pod to be gone.
    context.follow("pods", (pod, event) => {
      if (event?.type !== "DELETED") return;
      const set = context.find<ReplicaSet>("replicasets", `${pod.metadata.namespace}/${controllerOf(pod)?.name}`);
      const owner = set === undefined ? undefined : controllerOf(set);
      if (owner?.kind === "Deployment") queue.enqueue(`${pod.metadata.namespace}/${owner.name}`);
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
  const deployment = context.find<Deployment>("deployments", key);
  if (deployment === undefined || deployment.metadata.deletionTimestamp !== undefined) return;
  const sets = setsOf(context, deployment);
  const hash = templateHash(deployment.spec.template);
  let current = sets.find((set) => set.metadata.labels?.[HASH_LABEL] === hash);
  const isPaused = deployment.spec.paused === true;
  if (current === undefined && !isPaused) current = createSet(context, deployment, sets, hash);
  const old = sets.filter((set) => set.metadata.uid !== current?.metadata.uid);
  if (current !== undefined && !isPaused) {
    current = keepRevision(context, deployment, current, old);
    if (deployment.spec.strategy?.type === "Recreate") recreate(context, deployment, current, old);
    else roll(context, deployment, current, old);
    pruneHistory(context, deployment, old);
  }
  updateStatus(context, deployment, current?.metadata.uid);
}

function setsOf(context: Context, deployment: Deployment): ReplicaSet[] {
  return [...context.all<ReplicaSet>("replicasets")].filter(
    (set) => controllerOf(set)?.uid === deployment.metadata.uid,
  );
}

function revisionOf(set: ReplicaSet): number {
  return Number(set.metadata.annotations?.[REVISION] ?? 0);
}

function createSet(context: Context, deployment: Deployment, sets: readonly ReplicaSet[], hash: string): ReplicaSet {
  const { namespace, name, uid } = deployment.metadata;
  const template = clone(deployment.spec.template);
  template.metadata = { ...template.metadata, labels: { ...template.metadata?.labels, [HASH_LABEL]: hash } };
  const revision = Math.max(0, ...sets.map(revisionOf)) + 1;
  const created = context.registry.create(context.resource("replicasets"), namespace, {
    metadata: {
      name: `${name}-${hash}`,
      labels: template.metadata.labels,
      annotations: { [REVISION]: String(revision) },
      ownerReferences: [
        { apiVersion: "apps/v1", kind: "Deployment", name, uid, controller: true, blockOwnerDeletion: true },
      ],
    },
    spec: {
      replicas: 0,
      minReadySeconds: deployment.spec.minReadySeconds ?? 0,
      selector: {
        ...deployment.spec.selector,
        matchLabels: { ...deployment.spec.selector.matchLabels, [HASH_LABEL]: hash },
      },
      template,
    },
  });
  return created as ReplicaSet;
}

/** A template that comes back becomes the newest revision again. */
function keepRevision(
  context: Context,
  deployment: Deployment,
  current: ReplicaSet,
  old: readonly ReplicaSet[],
): ReplicaSet {
  const newest = Math.max(0, ...old.map(revisionOf));
  let revision = revisionOf(current);
  let set = current;
  if (revision <= newest) {
    revision = newest + 1;
    const patch = { metadata: { annotations: { [REVISION]: String(revision) } } };
    const { namespace, name } = current.metadata;
    set = context.registry.patch(context.resource("replicasets"), namespace, name, "merge", patch) as ReplicaSet;
  }
  if (deployment.metadata.annotations?.[REVISION] !== String(revision)) {
    const { namespace, name } = deployment.metadata;
    const patch = { metadata: { annotations: { [REVISION]: String(revision) } } };
    context.registry.patch(context.resource("deployments"), namespace, name, "merge", patch);
  }
  return set;
}

function scaleTo(context: Context, deployment: Deployment, set: ReplicaSet, replicas: number): void {
  const from = set.spec.replicas ?? 0;
  if (from === replicas) return;
  const { namespace, name } = set.metadata;
  context.registry.patch(context.resource("replicasets"), namespace, name, "merge", { spec: { replicas } });
  const how = replicas > from ? "up" : "down";
  const message = `Scaled ${how} replica set ${name} from ${from} to ${replicas}`;
  context.event(deployment, "Normal", "ScalingReplicaSet", message, "deployment-controller");
}

function recreate(context: Context, deployment: Deployment, current: ReplicaSet, old: readonly ReplicaSet[]): void {
  for (const set of old) scaleTo(context, deployment, set, 0);
  const isClear = old.every((set) => podsOf(context, set.metadata.uid).length === 0);
  if (isClear) scaleTo(context, deployment, current, deployment.spec.replicas ?? 1);
}

function roll(context: Context, deployment: Deployment, current: ReplicaSet, old: readonly ReplicaSet[]): void {
  const wanted = deployment.spec.replicas ?? 1;
  const { maxSurge, maxUnavailable } = limits(deployment, wanted);
  const size = (set: ReplicaSet) => set.spec.replicas ?? 0;
  const oldTotal = old.reduce((sum, set) => sum + size(set), 0);
  const room = wanted + maxSurge - oldTotal - size(current);
  const next = size(current) > wanted ? wanted : size(current) + Math.max(0, Math.min(room, wanted - size(current)));
  scaleTo(context, deployment, current, next);

  // How many old pods may go: those that never became available first, then as many as availability allows.
  const available = (set: ReplicaSet) => set.status?.availableReplicas ?? 0;
  const minAvailable = wanted - maxUnavailable;
  const newUnavailable = Math.max(0, next - available(current));
  let removable = oldTotal + next - minAvailable - newUnavailable;
  const left = new Map(old.map((set) => [set, size(set)]));
  for (const set of old) {
    const dead = Math.max(0, Math.min(removable, size(set) - available(set)));
    left.set(set, size(set) - dead);
    removable -= dead;
  }
  // Counts of available pods lag behind; what was removed just now must not be counted on once more.
  let spare = Math.min(removable, old.reduce((sum, set) => sum + available(set), available(current)) - minAvailable);
  for (const [set, count] of left) {
    const cut = Math.max(0, Math.min(count, spare));
    spare -= cut;
    scaleTo(context, deployment, set, count - cut);
  }
}

function limits(deployment: Deployment, wanted: number): { maxSurge: number; maxUnavailable: number } {
  const rolling = deployment.spec.strategy?.rollingUpdate ?? {};
  const maxSurge = portion(rolling.maxSurge ?? "25%", wanted, Math.ceil);
  const maxUnavailable = portion(rolling.maxUnavailable ?? "25%", wanted, Math.floor);
  // Neither more nor fewer pods than wished would never end.
  return maxSurge === 0 && maxUnavailable === 0 ? { maxSurge, maxUnavailable: 1 } : { maxSurge, maxUnavailable };
}

function portion(value: number | string, of: number, round: (value: number) => number): number {
  if (typeof value === "number") return value;
  return round((Number.parseFloat(value) / 100) * of);
}

function pruneHistory(context: Context, deployment: Deployment, old: readonly ReplicaSet[]): void {
  const empty = old.filter((set) => set.spec.replicas === 0 && (set.status?.replicas ?? 0) === 0);
  const keep = deployment.spec.revisionHistoryLimit ?? 10;
  const doomed = empty.sort((a, b) => revisionOf(b) - revisionOf(a)).slice(keep);
  for (const { metadata } of doomed) {
    context.registry.delete(context.resource("replicasets"), metadata.namespace, metadata.name);
  }
}

function updateStatus(context: Context, before: Deployment, currentUid: string | undefined): void {
  const deployment = context.find<Deployment>("deployments", keyOfObject(before));
  if (deployment === undefined) return;
  const sets = setsOf(context, deployment);
  const current = sets.find((set) => set.metadata.uid === currentUid);
  const sum = (field: "replicas" | "readyReplicas" | "availableReplicas") =>
    sets.reduce((total, set) => total + (set.status?.[field] ?? 0), 0);
  const wanted = deployment.spec.replicas ?? 1;
  const [replicas, available] = [sum("replicas"), sum("availableReplicas")];
  const updated = current?.status?.replicas ?? 0;
  const isEnough = available >= wanted - limits(deployment, wanted).maxUnavailable;
  const isComplete = updated === wanted && replicas === wanted && available === wanted;
  const name = current?.metadata.name ?? "";
  const conditions = [
    condition(deployment, {
      type: "Available",
      status: isEnough ? "True" : "False",
      reason: isEnough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
      message: `Deployment ${isEnough ? "has" : "does not have"} minimum availability.`,
    }),
    condition(deployment, {
      type: "Progressing",
      status: "True",
      reason: isComplete ? "NewReplicaSetAvailable" : "ReplicaSetUpdated",
      message: `ReplicaSet "${name}" ${isComplete ? "has successfully progressed" : "is progressing"}.`,
    }),
  ];
  context.registry.setStatus(context.resource("deployments"), deployment, {
    observedGeneration: deployment.metadata.generation,
    replicas,
    updatedReplicas: updated,
    readyReplicas: sum("readyReplicas"),
    availableReplicas: available,
    ...(available < wanted ? { unavailableReplicas: wanted - available } : {}),
    conditions,
  });
}

/** The condition with times: unchanged ones keep theirs. */
function condition(deployment: Deployment, wanted: Condition): Condition {
  const old = deployment.status?.conditions?.find((each) => each.type === wanted.type);
  const now = timestamp();
  if (old === undefined) return { ...wanted, lastUpdateTime: now, lastTransitionTime: now };
  const isSame = old.status === wanted.status && old.reason === wanted.reason && old.message === wanted.message;
  return {
    ...wanted,
    lastUpdateTime: isSame ? (old.lastUpdateTime ?? now) : now,
    lastTransitionTime: old.status === wanted.status ? (old.lastTransitionTime ?? now) : now,
  };
}
