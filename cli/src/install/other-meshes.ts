/** Other meshes, of which a cluster can have one: by what they run, by what changes pods, and by what they have left in pods. */
import type { KubeClient, ListOptions } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import { CONFIG_MAPS, DEPLOYMENTS, type KubeObject, PODS, type ResourceType } from "#lib/kube/types.ts";
import { DAEMON_SETS } from "../cluster/mesh-kinds.ts";
import { type Check, error, warning } from "./check.ts";

const STATEFUL_SETS = appsKind("StatefulSet", "statefulsets");
const MUTATING_WEBHOOKS: ResourceType<KubeObject> = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  kind: "MutatingWebhookConfiguration",
  plural: "mutatingwebhookconfigurations",
  namespaced: false,
};

interface Sign {
  readonly mesh: string;
  readonly type: ResourceType<KubeObject>;
  readonly labels: string;
  readonly todo: string;
}

const REMOVE_ISTIO = "save its resources, then `istioctl uninstall --purge` (docs/guides/migrate-from-istio.md)";
const REMOVE_LINKERD = "remove it with `linkerd uninstall | kubectl delete -f -`";

/** In whichever namespace and under whatever name (revisions of istiod have their own). */
const SIGNS: readonly Sign[] = [
  { mesh: "Istio", type: DEPLOYMENTS, labels: "app=istiod", todo: REMOVE_ISTIO },
  { mesh: "Istio", type: DAEMON_SETS, labels: "app=ztunnel", todo: REMOVE_ISTIO },
  { mesh: "Istio", type: DAEMON_SETS, labels: "k8s-app=istio-cni-node", todo: REMOVE_ISTIO },
  { mesh: "Istio", type: MUTATING_WEBHOOKS, labels: "app=sidecar-injector", todo: REMOVE_ISTIO },
  {
    mesh: "Linkerd",
    type: DEPLOYMENTS,
    labels: "linkerd.io/control-plane-component=destination",
    todo: REMOVE_LINKERD,
  },
  {
    mesh: "Linkerd",
    type: MUTATING_WEBHOOKS,
    labels: "linkerd.io/control-plane-component=proxy-injector",
    todo: REMOVE_LINKERD,
  },
  {
    mesh: "Consul",
    type: DEPLOYMENTS,
    labels: "app=consul,component=connect-injector",
    todo: "remove it with `helm uninstall consul -n consul`",
  },
  {
    mesh: "Kuma",
    type: DEPLOYMENTS,
    labels: "app=kuma-control-plane",
    todo: "remove it with `kumactl install control-plane | kubectl delete -f -`",
  },
];

/** What sidecars are known by in the pods that have them. */
const SIDECARS: readonly (readonly [mesh: string, annotation: string])[] = [
  ["Istio", "sidecar.istio.io/status"],
  ["Linkerd", "linkerd.io/proxy-version"],
];

export async function checkOtherMeshes(client: KubeClient, signal: AbortSignal): Promise<readonly Check[]> {
  const [installed, cilium, sidecars] = await Promise.all([
    Promise.all(SIGNS.map((sign) => installedMesh(sign, client, signal))),
    checkCilium(client, signal),
    checkSidecars(client, signal),
  ]);
  const first = new Map(installed.flat().map((found) => [found.mesh, found.check]));
  return [...first.values(), ...cilium, ...sidecars];
}

/** One line for each mesh will do: the first sign of it that is there. */
async function installedMesh({ mesh, type, labels, todo }: Sign, client: KubeClient, signal: AbortSignal) {
  const found = await list(client, type, { labelSelector: labels, signal });
  return found.slice(0, 1).map(({ metadata: { namespace, name } }) => {
    const place = namespace === undefined ? name : `${namespace}/${name}`;
    return { mesh, check: error(`${mesh} is installed (${type.kind.toLowerCase()} ${place})`, todo) };
  });
}

/** Cilium as a CNI is fine; its own mutual authentication would be a second mesh. */
async function checkCilium(client: KubeClient, signal: AbortSignal): Promise<readonly Check[]> {
  const name = { namespace: "kube-system", name: "cilium-config" };
  const [servers, config] = await Promise.all([
    list(client, STATEFUL_SETS, { namespace: "cilium-spire", signal }),
    client.get(CONFIG_MAPS, name, { signal }).catch(noneIfMissing),
  ]);
  const isOn = config?.data?.["mesh-auth-mutual-enabled"] === "true";
  if (!isOn && !servers.some(({ metadata }) => metadata.name === "spire-server")) return [];
  return [error("Cilium's mutual authentication is on", "set authentication.mutual.spire.enabled=false in its chart")];
}

async function checkSidecars(client: KubeClient, signal: AbortSignal): Promise<readonly Check[]> {
  const pods = await list(client, PODS, { signal });
  return SIDECARS.flatMap(([mesh, annotation]) => {
    const found = pods.filter(({ metadata }) => metadata.annotations?.[annotation] !== undefined);
    const [first] = found;
    if (first === undefined) return [];
    const { namespace, name } = first.metadata;
    const todo = "take the injection labels away and restart them with `kubectl rollout restart`";
    return [warning(`${found.length} pods still have ${mesh}'s sidecars, such as ${namespace}/${name}`, todo)];
  });
}

async function list<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  options: ListOptions,
): Promise<readonly T[]> {
  return (await client.list(type, options)).items;
}

function noneIfMissing(failure: unknown): undefined {
  if (isNotFound(failure)) return undefined;
  throw failure;
}

function appsKind(kind: string, plural: string): ResourceType<KubeObject> {
  return { group: "apps", version: "v1", kind, plural, namespaced: true };
}
