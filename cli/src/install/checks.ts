/** What must be so before Weft is installed: each a line with what is wrong and what to do. */
import type { KubeClient } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import { DEPLOYMENTS, type KubeObject, NODES, type ObjectMeta, type ResourceType } from "#lib/kube/types.ts";
import { type Check, error, ok, warning } from "./check.ts";
import { type KernelFeature, missingFeatures, remedy } from "./kernel.ts";
import { checkOtherMeshes } from "./other-meshes.ts";

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

/** Rejects only when the cluster cannot be asked at all. */
export async function checkCluster(client: KubeClient, signal: AbortSignal): Promise<readonly Check[]> {
  const nodes = (await client.list(NODES as ResourceType<Node>, { signal })).items;
  return [
    ...nodes.filter(({ status }) => status?.nodeInfo?.operatingSystem !== "windows").flatMap(checkNode),
    ...(nodes.length === 0 ? [error("the cluster has no node", "add one first")] : []),
    ...(await checkOtherMeshes(client, signal)),
  ];
}

function checkNode({ metadata, status }: Node): readonly Check[] {
  const { kernelVersion = "", kubeletVersion = "" } = status?.nodeInfo ?? {};
  return [...checkKernel(metadata.name, kernelVersion), ...checkKubelet(metadata.name, kubeletVersion)];
}

/** By its version alone; `weft check --image` tries it. */
function checkKernel(node: string, version: string): readonly Check[] {
  const missing = missingFeatures(version);
  if (missing === undefined)
    return [warning(`node ${node} does not say which kernel it runs`, "see that it is 5.15 or later")];
  if (missing.length === 0) return [ok(`node ${node} runs kernel ${version}`)];
  return missing.map((feature) => lacking(node, version, feature));
}

export function lacking(node: string, version: string, feature: KernelFeature): Check {
  const what = `node ${node} runs kernel ${version}, which lacks ${feature.what}: ${feature.without}`;
  return (feature.required ? error : warning)(what, remedy(feature, version));
}

function checkKubelet(node: string, version: string): readonly Check[] {
  const match = /^v(\d+)\.(\d+)/.exec(version);
  const [major, minor] = [Number(match?.[1]), Number(match?.[2])];
  const [oldMajor, oldMinor] = OLDEST_KUBERNETES;
  if (match === null || major > oldMajor || (major === oldMajor && minor >= oldMinor)) return [];
  return [error(`node ${node} runs Kubernetes ${version}`, `upgrade it to ${OLDEST_KUBERNETES.join(".")} or later`)];
}

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
