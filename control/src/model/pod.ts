/** Pods as the model keeps them, and what a pod is called in telemetry. */
import { parseIp } from "#lib/address.ts";
import type { Container, Pod } from "#lib/kube/types.ts";
import { type Labels, type Meta, metaOf, NO_LABELS } from "./meta.ts";

/** How a workload takes tunnels: not at all, through the node's agent, or by itself. */
export type Tunnel = "none" | "agent" | "native";

export interface PodFacts extends Meta {
  readonly uid: string;
  readonly labels: Labels;
  /** Empty until scheduled. */
  readonly node: string;
  readonly serviceAccount: string;
  /** Canonical; empty until the pod has an address. */
  readonly ips: readonly string[];
  readonly succeeded: boolean;
  /** Ready and not being deleted. */
  readonly healthy: boolean;
  readonly hostNetwork: boolean;
  readonly tunnel: Tunnel;
  /** Name of the controller that made it. */
  readonly workloadName: string;
  /** Named TCP container ports. */
  readonly namedPorts: readonly (readonly [name: string, port: number])[];
}

export const REDIRECTION_ANNOTATION = "ambient.istio.io/redirection";

/** Undefined for a pod that has failed: nothing of it runs any more. */
export function podFacts(pod: Pod): PodFacts | undefined {
  const phase = pod.status?.phase;
  if (phase === "Failed") return undefined;
  const { labels = NO_LABELS, annotations, uid = "", deletionTimestamp } = pod.metadata;
  const ready = pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
  return {
    ...metaOf(pod),
    uid,
    labels,
    node: pod.spec?.nodeName ?? "",
    serviceAccount: pod.spec?.serviceAccountName || "default",
    ips: podIps(pod),
    succeeded: phase === "Succeeded",
    healthy: ready && deletionTimestamp === undefined,
    hostNetwork: pod.spec?.hostNetwork === true,
    tunnel: tunnelOf(labels, annotations?.[REDIRECTION_ANNOTATION] === "enabled"),
    workloadName: workloadName(pod),
    namedPorts: namedPorts(pod),
  };
}

/** `redirected`: the node's agent says that it captures this pod. */
export function tunnelOf(labels: Labels, redirected: boolean): Tunnel {
  // The label is a list of protocols that the workload speaks by itself.
  if (labels["networking.istio.io/tunnel"]?.split(",").includes("http")) return "native";
  return redirected ? "agent" : "none";
}

export function canonicalName(labels: Labels, fallback: string): string {
  return labels["service.istio.io/canonical-name"] || labels["app.kubernetes.io/name"] || labels.app || fallback;
}

export function canonicalRevision(labels: Labels): string {
  return (
    labels["service.istio.io/canonical-revision"] || labels["app.kubernetes.io/version"] || labels.version || "latest"
  );
}

/** The Deployment behind a ReplicaSet, the CronJob behind a Job, else the controller; a bare pod's own name. */
function workloadName(pod: Pod): string {
  const labels = pod.metadata.labels ?? NO_LABELS;
  const override = labels["service.istio.io/workload-name"];
  if (override) return override;
  const owner = pod.metadata.ownerReferences?.find((reference) => reference.controller === true);
  if (owner === undefined) return pod.metadata.name;
  const hash = labels["pod-template-hash"];
  if (owner.kind === "ReplicaSet" && hash && owner.name.endsWith(`-${hash}`))
    return owner.name.slice(0, -hash.length - 1);
  // A CronJob names its jobs after the scheduled minute: 8 digits now, 10 (seconds) in old versions.
  if (owner.kind === "Job") return owner.name.replace(/-\d{8,10}$/, "");
  return owner.name;
}

function podIps(pod: Pod): string[] {
  const listed = pod.status?.podIPs?.map(({ ip }) => ip) ?? [];
  const texts = listed.length > 0 ? listed : [pod.status?.podIP ?? ""];
  return texts.map(parseIp).filter((ip) => ip !== undefined);
}

/** Init containers that are restarted are sidecars of Kubernetes' own kind: their ports serve like any other. */
function namedPorts(pod: Pod): [string, number][] {
  const sidecars = pod.spec?.initContainers?.filter(({ restartPolicy }) => restartPolicy === "Always") ?? [];
  const containers: readonly Container[] = [...(pod.spec?.containers ?? []), ...sidecars];
  const result: [string, number][] = [];
  for (const { ports = [] } of containers) {
    for (const { name, containerPort, protocol = "TCP" } of ports) {
      if (name && protocol === "TCP") result.push([name, containerPort]);
    }
  }
  return result;
}
