/** Whether another agent is to follow on this node: if not, nothing may stay behind of this one. */
import type { KubeClient, ObjectName } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import { type KubeObject, PODS, type ResourceType } from "#lib/kube/types.ts";
import { errorText, type Logger } from "#lib/log.ts";

const DAEMON_SETS: ResourceType<KubeObject> = {
  group: "apps",
  version: "v1",
  kind: "DaemonSet",
  plural: "daemonsets",
  namespaced: true,
};

/** The API server may be as far gone as everything else; what is captured then stays captured. */
const ASK_MS = 5_000;

export interface RemovalQuestion {
  readonly client: KubeClient;
  readonly namespace: string;
  /** This agent's pod. Empty: it runs outside Kubernetes, and nobody removes it but by `cleanup`. */
  readonly podName: string;
  readonly log: Logger;
}

/** True only when the API says so: the DaemonSet of this agent's pod is gone, or on its way. */
export async function isRemoved({ client, namespace, podName, log }: RemovalQuestion): Promise<boolean> {
  if (podName === "" || namespace === "") return false;
  const signal = AbortSignal.timeout(ASK_MS);
  try {
    const { metadata } = await client.get(PODS, { namespace, name: podName }, { signal });
    const owner = metadata.ownerReferences?.find(({ kind }) => kind === "DaemonSet");
    return owner !== undefined && (await isGoing(client, { namespace, name: owner.name }, owner.uid, signal));
  } catch (error) {
    // A pod that the API does not know, deleted by force perhaps, says nothing of its DaemonSet.
    log.warn("cannot tell an update from a removal: captures stay", { error: errorText(error) });
    return false;
  }
}

async function isGoing(client: KubeClient, name: ObjectName, uid: string, signal: AbortSignal): Promise<boolean> {
  try {
    const { metadata } = await client.get(DAEMON_SETS, name, { signal });
    return metadata.uid !== uid || metadata.deletionTimestamp !== undefined;
  } catch (error) {
    if (isNotFound(error)) return true;
    throw error;
  }
}
