/** Whether a pod belongs to the mesh, from its labels and those of its namespace. */
import type { Pod } from "#lib/kube/types.ts";

export const DATAPLANE_MODE = "istio.io/dataplane-mode";
export const REDIRECTION = "ambient.istio.io/redirection";
const SIDECAR_STATUS = "sidecar.istio.io/status";
export const EXPRESS = "weft.dev/express";
const DNS_CAPTURE = "ambient.istio.io/dns-capture";

export type Eligibility = { readonly eligible: true } | { readonly eligible: false; readonly why: string };

export interface EligibilityInput {
  readonly pod: Pod;
  /** Undefined while the namespace is not known. */
  readonly namespaceLabels: Readonly<Record<string, string>> | undefined;
  readonly excludedNamespaces: readonly string[];
}

export function eligibility({ pod, namespaceLabels, excludedNamespaces }: EligibilityInput): Eligibility {
  const { labels, annotations, namespace = "" } = pod.metadata;
  if (pod.spec?.hostNetwork === true) return no("uses the node's network");
  if (isTerminal(pod)) return no("has ended");
  if (annotations?.[SIDECAR_STATUS] !== undefined) return no("has a sidecar");
  if (excludedNamespaces.includes(namespace)) return no(`namespace ${namespace} is excluded`);
  const own = labels?.[DATAPLANE_MODE];
  if (own === "none") return no(`pod label ${DATAPLANE_MODE}=none`);
  if (own === "ambient" || namespaceLabels?.[DATAPLANE_MODE] === "ambient") return { eligible: true };
  return no(`no label ${DATAPLANE_MODE}=ambient on pod or namespace`);
}

export function isTerminal(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** The pod's own wish beats the agent's default. */
export function wantsDns(pod: Pod, byDefault: boolean): boolean {
  const own = pod.metadata.annotations?.[DNS_CAPTURE];
  return own === undefined ? byDefault : own === "true";
}

/** Express connections are for pods that ask for them: their sockets are not quite TCP sockets. */
export function wantsExpress(pod: Pod): boolean {
  return pod.metadata.annotations?.[EXPRESS] === "enabled";
}

function no(why: string): Eligibility {
  return { eligible: false, why };
}
