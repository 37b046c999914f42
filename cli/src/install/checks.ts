/** What must be so before Weft is installed: each a line with what is wrong and what to do. */
import type { KubeClient } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import { DEPLOYMENTS, type KubeObject, NODES, type ObjectMeta, type ResourceType } from "#lib/kube/types.ts";
import { missingFeatures } from "./kernel.ts";

export type Severity = "ok" | "warning" | "error";

export interface Check {
  readonly severity: Severity;
  readonly what: string;
  readonly todo?: string;
}

interface Node extends KubeObject {
  readonly status?: {
    readonly nodeInfo?: {
      readonly kernelVersion?: string;
      readonly kubeletVersion?: string;
      readonly operatingSystem?: string;
    };
  };
}

interface Deployment extends KubeObject {
  readonly spec?: { readonly template?: { readonly metadata?: ObjectMeta } };
}

/** Tokens that name their node, and admission policies that read it. */
const OLDEST_KUBERNETES = [1, 30] as const;
const OTHER_MESHES: readonly (readonly [name: string, namespace: string, deployment: string, todo: string])[] = [
  ["Istio", "istio-system", "istiod", "remove it with `istioctl uninstall --purge`"],
  ["Linkerd", "linkerd", "linkerd-destination", "remove it with `linkerd uninstall | kubectl delete -f -`"],
  ["Consul", "consul", "consul-connect-injector", "remove it with `helm uninstall consul -n consul`"],
];

/** Rejects only when the cluster cannot be asked at all. */
export async function checkCluster(client: KubeClient, signal: AbortSignal): Promise<readonly Check[]> {
  const nodes = (await client.list(NODES as ResourceType<Node>, { signal })).items;
  return [
    ...nodes.filter(({ status }) => status?.nodeInfo?.operatingSystem !== "windows").flatMap(checkNode),
    ...(nodes.length === 0 ? [error("the cluster has no node", "add one first")] : []),
    ...(await checkOtherMeshes(client, signal)),
    ...(await checkCilium(client, signal)),
  ];
}

function checkNode({ metadata, status }: Node): readonly Check[] {
  const { kernelVersion = "", kubeletVersion = "" } = status?.nodeInfo ?? {};
  return [...checkKernel(metadata.name, kernelVersion), ...checkKubelet(metadata.name, kubeletVersion)];
}

function checkKernel(node: string, version: string): readonly Check[] {
  const missing = missingFeatures(version);
  if (missing === undefined) return [{ severity: "warning", what: `node ${node} does not say which kernel it runs` }];
  if (missing.length === 0) return [ok(`node ${node} runs kernel ${version}`)];
  return missing.map(({ since, what, without, required }) => ({
    severity: required ? "error" : "warning",
    what: `node ${node} runs kernel ${version}, which lacks ${what}: ${without}`,
    todo: `use kernel ${since.join(".")} or later`,
  }));
}

function checkKubelet(node: string, version: string): readonly Check[] {
  const match = /^v(\d+)\.(\d+)/.exec(version);
  const [major, minor] = [Number(match?.[1]), Number(match?.[2])];
  const [oldMajor, oldMinor] = OLDEST_KUBERNETES;
  if (match === null || major > oldMajor || (major === oldMajor && minor >= oldMinor)) return [];
  return [error(`node ${node} runs Kubernetes ${version}`, `upgrade it to ${OLDEST_KUBERNETES.join(".")} or later`)];
}

async function checkOtherMeshes(client: KubeClient, signal: AbortSignal): Promise<readonly Check[]> {
  const found = await Promise.all(
    OTHER_MESHES.map(async ([mesh, namespace, name, todo]) => {
      const there = await exists(client, DEPLOYMENTS, namespace, name, signal);
      return there === undefined ? [] : [error(`${mesh} is installed (deployment ${namespace}/${name})`, todo)];
    }),
  );
  return found.flat();
}

/** Cilium as a CNI is fine; its own mutual authentication would be a second mesh. */
async function checkCilium(client: KubeClient, signal: AbortSignal): Promise<readonly Check[]> {
  const spire = await exists(client, STATEFUL_SETS, "cilium-spire", "spire-server", signal);
  if (spire === undefined) return [];
  return [error("Cilium's mutual authentication is on", "set authentication.mutual.spire.enabled=false in its chart")];
}

const STATEFUL_SETS: ResourceType<KubeObject> = {
  group: "apps",
  version: "v1",
  kind: "StatefulSet",
  plural: "statefulsets",
  namespaced: true,
};

/** An object that is there, and not being deleted. */
async function exists<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<T | undefined> {
  try {
    return await client.get(type, { namespace, name }, { signal });
  } catch (failure) {
    if (isNotFound(failure)) return undefined;
    throw failure;
  }
}

/** Whether Helm looks after what is installed: then `weft install` would take it from Helm's hands. */
export async function checkHelm(
  client: KubeClient,
  namespace: string,
  signal: AbortSignal,
): Promise<Check | undefined> {
  const found = await exists(client, DEPLOYMENTS as ResourceType<Deployment>, namespace, "weft-control", signal);
  const release = found?.metadata.annotations?.["meta.helm.sh/release-name"];
  if (release === undefined) return undefined;
  return error(
    `Weft was installed with Helm (release ${release})`,
    `use helm upgrade or helm uninstall -n ${namespace}`,
  );
}

interface AccessReview extends KubeObject {
  readonly spec: { readonly resourceAttributes: Readonly<Record<string, string>> };
  readonly status?: { readonly allowed?: boolean };
}

const ACCESS_REVIEWS: ResourceType<AccessReview> = {
  group: "authorization.k8s.io",
  version: "v1",
  kind: "SelfSubjectAccessReview",
  plural: "selfsubjectaccessreviews",
  namespaced: false,
};

/** Whether we may make what an installation consists of: better known before the first object than after the fifth. */
export async function checkRights(
  client: KubeClient,
  types: Iterable<ResourceType<KubeObject>>,
  namespace: string,
  signal: AbortSignal,
): Promise<readonly Check[]> {
  const distinct = new Map(
    [...types].map((type) => [[type.plural, type.group].filter((word) => word !== "").join("."), type] as const),
  );
  const answers = await Promise.all(
    [...distinct].map(async ([name, { group, plural, namespaced }]) => {
      const where: Record<string, string> = namespaced ? { namespace } : {};
      const resourceAttributes = { ...where, group, resource: plural, verb: "create" };
      const review = { metadata: { name: "" }, spec: { resourceAttributes } };
      return (await client.create(ACCESS_REVIEWS, review, { signal })).status?.allowed === true ? [] : [name];
    }),
  );
  const forbidden = answers.flat();
  if (forbidden.length === 0) return [];
  return [error(`you may not create ${forbidden.join(", ")}`, "use an account that is cluster-admin")];
}

function ok(what: string): Check {
  return { severity: "ok", what };
}

function error(what: string, todo: string): Check {
  return { severity: "error", what, todo };
}
