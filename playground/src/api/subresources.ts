/** Subresources that are not plain parts of an object: scale, binding, eviction. */
import { badRequest, conflict, notOffered } from "./errors.ts";
import { isRecord, type JsonRecord, type Obj } from "./objects.ts";
import { mergePatch } from "./patch.ts";
import type { PatchType, Registry } from "./registry.ts";
import type { Resource } from "./resources.ts";
import { formatSelector, type LabelSelector } from "./selectors.ts";

/** autoscaling/v1 Scale of a Deployment or ReplicaSet. */
export function scaleOf(object: Obj): JsonRecord {
  const spec = object.spec as { replicas?: number; selector?: LabelSelector };
  const status = isRecord(object.status) ? object.status : {};
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: spec.replicas ?? 0 },
    status: { replicas: status.replicas ?? 0, selector: formatSelector(spec.selector) },
  };
}

/** Sets the number of replicas by PUT (`patch` undefined) or PATCH of a Scale. */
export function writeScale(
  registry: Registry,
  resource: Resource,
  namespace: string | undefined,
  name: string,
  body: JsonRecord,
  patch: PatchType | undefined,
): JsonRecord {
  const current = registry.get(resource, namespace, name);
  if (patch === "json" || patch === "apply") throw notOffered(`a ${patch} patch of the scale subresource`);
  const scale = patch === undefined ? body : (mergePatch(scaleOf(current), body) as JsonRecord);
  const replicas = isRecord(scale.spec) ? scale.spec.replicas : undefined;
  if (typeof replicas !== "number" || !Number.isInteger(replicas) || replicas < 0) {
    throw badRequest(`spec.replicas: Invalid value: ${JSON.stringify(replicas)}`);
  }
  const given = isRecord(scale.metadata) ? scale.metadata.resourceVersion : undefined;
  if (patch === undefined && given && given !== current.metadata.resourceVersion) {
    throw conflict(resource, name, "the object has been modified");
  }
  return scaleOf(registry.patch(resource, namespace, name, "merge", { spec: { replicas } }));
}

/** Puts a pod on a node, as schedulers do. */
export function bind(registry: Registry, resource: Resource, namespace: string, name: string, node: string): void {
  const pod = registry.get(resource, namespace, name);
  if (isRecord(pod.spec) && pod.spec.nodeName) throw conflict(resource, name, `pod is already assigned to a node`);
  registry.patch(resource, namespace, name, "merge", { spec: { nodeName: node } });
  const conditions = [{ type: "PodScheduled", status: "True", lastTransitionTime: new Date().toISOString() }];
  registry.patch(resource, namespace, name, "strategic", { status: { conditions } }, { subresource: "status" });
}
