/** `targetRefs` of policies: the waypoints, or the services behind waypoints, that a policy is for. */
import type { Fields } from "../../model/fields.ts";

export type TargetKind = "Service" | "ServiceEntry" | "Gateway" | "GatewayClass";

export interface Target {
  readonly kind: TargetKind;
  /** Empty for a GatewayClass. */
  readonly namespace: string;
  readonly name: string;
}

const GROUPS: Readonly<Record<TargetKind, string>> = {
  Service: "",
  ServiceEntry: "networking.istio.io",
  Gateway: "gateway.networking.k8s.io",
  GatewayClass: "gateway.networking.k8s.io",
};
const KINDS = Object.keys(GROUPS) as TargetKind[];
const MAX_TARGETS = 16;

export function targetKey({ kind, namespace, name }: Target): string {
  return `${kind}/${namespace}/${name}`;
}

/** Reads `targetRefs` and the older `targetRef`. Undefined: the policy has none, and is not for waypoints. */
export function readTargets(spec: Fields, ownNamespace: string, rootNamespace: string): Target[] | undefined {
  const single = spec.object("targetRef");
  const refs = [...(single === undefined ? [] : [single]), ...spec.objects("targetRefs")];
  if (refs.length === 0) return undefined;
  if (refs.length > MAX_TARGETS) spec.problem("targetRefs", `must not be more than ${MAX_TARGETS}`);
  if (single !== undefined && refs.length > 1) spec.problem("targetRef", "must not be set beside targetRefs");
  if (spec.has("selector")) spec.problem("selector", "must not be set beside targetRefs");
  const targets = new Map<string, Target>();
  for (const ref of refs.slice(0, MAX_TARGETS)) {
    const target = readTarget(ref, ownNamespace, rootNamespace);
    if (target !== undefined) targets.set(targetKey(target), target);
  }
  return [...targets.values()];
}

function readTarget(ref: Fields, ownNamespace: string, rootNamespace: string): Target | undefined {
  const group = ref.string("group") ?? "";
  const wanted = ref.string("kind") ?? "";
  const name = ref.string("name") ?? "";
  const namespace = ref.string("namespace") || ownNamespace;
  ref.refuseUnknown();
  const kind = KINDS.find(
    (each) => each === wanted && (GROUPS[each] === group || (group === "core" && each === "Service")),
  );
  if (kind === undefined) ref.problem("kind", `${group}/${wanted} is none of ${KINDS.join(", ")} in its group`);
  if (name === "") ref.problem("name", "is required");
  if (namespace !== ownNamespace) ref.problem("namespace", "must be the policy's own");
  if (kind === "GatewayClass" && ownNamespace !== rootNamespace) {
    ref.problem("kind", `a GatewayClass is a target only for policies in namespace ${rootNamespace}`);
    return undefined;
  }
  if (kind === undefined || name === "" || namespace !== ownNamespace) return undefined;
  return { kind, namespace: kind === "GatewayClass" ? "" : namespace, name };
}
