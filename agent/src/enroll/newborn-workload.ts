/**
 * Stands for a pod of this node that the control plane has not told of: it hears of the pod's address seconds after the first
 * container runs. Good for saying where the pod's connections go, which any workload of its namespace, account and network
 * would be told alike. Not for what may come in: which policies select the pod is the control plane's to say.
 */
import { parseSpiffeId } from "#lib/spiffe.ts";
import type { Workload } from "../state/model.ts";
import type { LocalPod } from "./local-pods.ts";

export interface NodePlace {
  readonly network: string;
  readonly clusterId: string;
  readonly nodeName: string;
}

export function newbornWorkload(pod: LocalPod, { network, clusterId, nodeName }: NodePlace): Workload {
  const { uid, name, namespace, serviceAccount, addresses: ips } = pod;
  return {
    key: 0,
    uid,
    name,
    namespace,
    ips,
    network,
    protocol: "HBONE",
    nativeTunnel: false,
    hostNetwork: false,
    healthy: true,
    trustDomain: parseSpiffeId(pod.identity)?.trustDomain ?? "",
    serviceAccount,
    node: nodeName,
    clusterId,
    hostname: "",
    canonicalName: "",
    canonicalRevision: "",
    workloadType: "pod",
    workloadName: name,
    capacity: 1,
    locality: { region: "", zone: "", subzone: "" },
    policies: [],
    services: [],
    waypoint: undefined,
    networkGateway: undefined,
    applicationTunnel: undefined,
  };
}
