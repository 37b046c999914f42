/** What analysis knows of kinds of objects beside those that the model reads. */
import type { KubeObject } from "#lib/kube/types.ts";
import { Fields } from "../model/fields.ts";
import { metaOf } from "../model/meta.ts";
import type { Labelled } from "./surroundings.ts";

/** Empty for the core group. */
export function groupOf({ apiVersion = "" }: KubeObject): string {
  const slash = apiVersion.indexOf("/");
  return slash < 0 ? "" : apiVersion.slice(0, slash);
}

export function isIngressGateway(object: KubeObject): boolean {
  return object.kind === "Gateway" && groupOf(object) === "networking.istio.io";
}

const TEMPLATED = new Set(["apps/Deployment", "apps/StatefulSet", "apps/DaemonSet", "apps/ReplicaSet", "batch/Job"]);

/** Of an object that makes pods. */
export function podTemplate(object: KubeObject): (Labelled & { readonly name: string }) | undefined {
  if (!TEMPLATED.has(`${groupOf(object)}/${object.kind}`)) return undefined;
  const spec = new Fields((object as { spec?: unknown }).spec, "spec", []);
  const labels = spec.object("template")?.object("metadata")?.map("labels") ?? {};
  const { namespace, name } = metaOf(object);
  return { namespace, name, labels };
}

/** Of what this kind can say, only a part is done here: the rest is for other proxies, and right there. */
export function isForOthersToo(object: KubeObject): boolean {
  return object.kind === "EnvoyFilter" && groupOf(object) === "networking.istio.io";
}

/** Kinds of Istio's API that nobody here executes, and why. */
export const UNUSED_KINDS: ReadonlyMap<string, string> = new Map([
  ["networking.istio.io/Sidecar", "there are no sidecars to configure; every workload sees every service"],
  ["networking.istio.io/ProxyConfig", "there is no proxy beside the workload to configure"],
  [
    "networking.istio.io/WorkloadGroup",
    "workloads outside of the cluster are not registered by themselves; write WorkloadEntries",
  ],
  ["extensions.istio.io/WasmPlugin", "waypoints load no foreign code"],
  ["extensions.istio.io/TrafficExtension", "waypoints load no foreign code"],
]);

/** Of Kubernetes and of those who make clusters: users' habits of naming are not looked for there. */
export const SYSTEM_NAMESPACES: ReadonlySet<string> = new Set([
  "kube-system",
  "kube-public",
  "kube-node-lease",
  "local-path-storage",
]);
