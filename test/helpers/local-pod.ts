/** Pods of this node as the agent describes them. */
import type { LocalPod } from "../../agent/src/enroll/local-pods.ts";

/** Number `id` by every count, with an account of its name. */
export function localPod(id: number, name: string, addresses: readonly string[]): LocalPod {
  return {
    id,
    cookie: BigInt(id),
    uid: `uid-${name}`,
    namespace: "default",
    name,
    serviceAccount: name,
    addresses,
    identity: `spiffe://cluster.local/ns/default/sa/${name}`,
    dns: true,
    express: false,
  };
}
