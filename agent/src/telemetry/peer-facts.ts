/** What records and metrics say of one end of a connection. */
import type { LocalPod } from "../enroll/local-pods.ts";
import type { Workload } from "../state/model.ts";
import type { BaggageFacts } from "./baggage.ts";

export interface PeerFacts {
  readonly name: string | undefined;
  readonly workload: string | undefined;
  readonly namespace: string | undefined;
  readonly canonicalName: string | undefined;
  readonly canonicalRevision: string | undefined;
  readonly cluster: string | undefined;
  readonly region: string | undefined;
  readonly zone: string | undefined;
  readonly identity: string | undefined;
}

export const NOBODY: BaggageFacts = {};

/** `other` counts where the workload is not known. */
export function peerFacts(
  workload: Workload | undefined,
  other: BaggageFacts,
  identity: string | undefined,
): PeerFacts {
  if (workload === undefined) {
    return {
      name: other.name,
      workload: other.workload,
      namespace: other.namespace,
      canonicalName: other.canonicalName,
      canonicalRevision: other.canonicalRevision,
      cluster: other.cluster,
      region: other.region,
      zone: other.zone,
      identity,
    };
  }
  return {
    name: workload.name,
    workload: workload.workloadName,
    namespace: workload.namespace,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    cluster: workload.clusterId,
    region: workload.locality.region,
    zone: workload.locality.zone,
    identity,
  };
}

/** All that is known of a pod whose workload has left the mesh. */
export function podFacts(pod: LocalPod | undefined): BaggageFacts {
  return pod === undefined ? NOBODY : { name: pod.name, namespace: pod.namespace };
}

/** Its part of a plain access line; `prefix` is `src` or `dst`. */
export function peerText(prefix: string, peer: PeerFacts): string {
  let text = "";
  if (peer.name !== undefined) text += ` ${prefix}.workload=${JSON.stringify(peer.name)}`;
  if (peer.namespace !== undefined) text += ` ${prefix}.namespace=${JSON.stringify(peer.namespace)}`;
  if (peer.identity !== undefined) text += ` ${prefix}.identity=${JSON.stringify(peer.identity)}`;
  if (peer.cluster !== undefined) text += ` ${prefix}.cluster=${JSON.stringify(peer.cluster)}`;
  return text;
}
