/** The scheduler: the fitting node with the fewest siblings, then with the fewest pods. Resources are not counted. */
import { meetsRequirement } from "#lib/kube/requirement.ts";
import { clone, controllerOf, timestamp } from "../api/objects.ts";
import { isFinished, type NodeObject, type NodeSelectorTerm, type Pod, type PodSpec } from "../kinds/types.ts";
import { type Context, type Controller, keyOfObject } from "./context.ts";
import { Reconciler } from "./reconciler.ts";

export function scheduler(context: Context): Controller {
  const queue = new Reconciler(
    "scheduling",
    (key) => schedule(context, key),
    (text) => context.report(text),
  );
  const stops = [
    context.follow("pods", (object) => {
      const pod = object as Pod;
      if (!pod.spec.nodeName && pod.metadata.deletionTimestamp === undefined) queue.enqueue(keyOfObject(pod));
    }),
    context.follow("nodes", () => {
      for (const pod of context.all<Pod>("pods")) if (!pod.spec.nodeName) queue.enqueue(keyOfObject(pod));
    }),
  ];
  return {
    close() {
      for (const stop of stops) stop();
      queue.close();
    },
  };
}

/** Node selector and required node affinity. */
export function fitsNode(spec: PodSpec, node: NodeObject): boolean {
  const labels = node.metadata.labels ?? {};
  if (!Object.entries(spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value)) return false;
  const terms = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  return terms === undefined || terms.some((term) => matchesTerm(term, node));
}

function matchesTerm(term: NodeSelectorTerm, node: NodeObject): boolean {
  const labels = node.metadata.labels ?? {};
  return (
    (term.matchExpressions ?? []).every((each) => meetsRequirement(labels[each.key], each)) &&
    (term.matchFields ?? []).every((each) => meetsRequirement(node.metadata.name, each))
  );
}

function isReadyNode(node: NodeObject): boolean {
  return node.status?.conditions?.some((each) => each.type === "Ready" && each.status === "True") === true;
}

function schedule(context: Context, key: string): void {
  const pod = context.find<Pod>("pods", key);
  if (pod === undefined || pod.spec.nodeName || pod.metadata.deletionTimestamp !== undefined) return;
  const all = [...context.all<NodeObject>("nodes")];
  const fitting = all.filter((node) => !node.spec?.unschedulable && isReadyNode(node) && fitsNode(pod.spec, node));
  const chosen = choose(context, pod, fitting);
  const resource = context.resource("pods");
  const { namespace, name } = pod.metadata;
  if (chosen === undefined) {
    // While the nodes are still joining there is nothing to complain about.
    if (all.length === 0) return;
    const message = `0/${all.length} nodes are available: none is ready, schedulable and matches the pod's node selector or affinity.`;
    const wait = { type: "PodScheduled", status: "False", reason: "Unschedulable", message };
    const isNew = !pod.status.conditions?.some((each) => each.type === "PodScheduled" && each.message === message);
    if (!isNew) return;
    context.registry.patch(
      resource,
      namespace,
      name,
      "strategic",
      { status: { conditions: [wait] } },
      { subresource: "status" },
    );
    context.event(pod, "Warning", "FailedScheduling", message, "default-scheduler");
    return;
  }
  const scheduled = clone(pod);
  scheduled.spec.nodeName = chosen;
  const rest = (pod.status.conditions ?? []).filter((each) => each.type !== "PodScheduled");
  scheduled.status.conditions = [...rest, { type: "PodScheduled", status: "True", lastTransitionTime: timestamp() }];
  context.registry.store.put("pods", key, scheduled);
  context.event(pod, "Normal", "Scheduled", `Successfully assigned ${key} to ${chosen}`, "default-scheduler");
}

function choose(context: Context, pod: Pod, nodes: readonly NodeObject[]): string | undefined {
  const owner = controllerOf(pod)?.uid;
  const load = new Map<string, { siblings: number; pods: number }>();
  for (const node of nodes) load.set(node.metadata.name, { siblings: 0, pods: 0 });
  for (const other of context.all<Pod>("pods")) {
    const at = load.get(other.spec.nodeName ?? "");
    if (at === undefined || isFinished(other)) continue;
    at.pods += 1;
    if (owner !== undefined && controllerOf(other)?.uid === owner) at.siblings += 1;
  }
  const ranked = [...load].sort(
    ([nameA, a], [nameB, b]) => a.siblings - b.siblings || a.pods - b.pods || (nameA < nameB ? -1 : 1),
  );
  return ranked[0]?.[0];
}
