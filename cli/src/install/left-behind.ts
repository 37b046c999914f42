/** What the control plane has made by itself, and nobody would take away with it. */
import type { KubeClient } from "#lib/kube/client.ts";
import { CONFIG_MAPS, GATEWAY_CLASSES, type KubeObject, type ResourceType, SECRETS } from "#lib/kube/types.ts";
import { ROOT_CONFIG_MAP } from "../../../control/src/ca/root-distributor.ts";
import { LEASE_NAME } from "../../../control/src/kube/leader.ts";
import { MESH_CONTROLLER } from "../../../control/src/l7/gateway-api/controller.ts";
import type { Part } from "./manifests.ts";

const OWN_ROOT = "istio-ca-secret";
const LEASES: ResourceType<KubeObject> = {
  group: "coordination.k8s.io",
  version: "v1",
  kind: "Lease",
  plural: "leases",
  namespaced: true,
};

interface GatewayClass extends KubeObject {
  readonly spec?: { readonly controllerName?: string };
}

/** The root's key among it: the next installation begins with identities that nobody trusts yet. */
export async function leftBehind(client: KubeClient, namespace: string, signal: AbortSignal): Promise<readonly Part[]> {
  const selector = { fieldSelector: `metadata.name=${ROOT_CONFIG_MAP}`, signal };
  const roots = await client.list(CONFIG_MAPS, selector);
  const classes = await client
    .list(GATEWAY_CLASSES as ResourceType<GatewayClass>, { signal })
    .catch(() => ({ items: [] }));
  return [
    ...roots.items.map((object) => ({ type: CONFIG_MAPS as ResourceType<KubeObject>, object })),
    ...classes.items
      .filter(({ spec }) => spec?.controllerName === MESH_CONTROLLER)
      .map((object) => ({ type: GATEWAY_CLASSES as ResourceType<KubeObject>, object })),
    { type: LEASES, object: { metadata: { namespace, name: LEASE_NAME } } },
    { type: SECRETS as ResourceType<KubeObject>, object: { metadata: { namespace, name: OWN_ROOT } } },
  ];
}
