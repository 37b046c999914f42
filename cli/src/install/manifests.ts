/** What Weft consists of in a cluster: deploy/, as objects in the order in which they are made. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseAllDocuments } from "yaml";
import type { KubeObject, ResourceType } from "#lib/kube/types.ts";

const DEPLOY = resolve(import.meta.dirname, "../../../deploy");
/** What the manifests name when nobody names another image. */
const IMAGE = /^weft:/;

/** Where each kind of ours lives, and in which order kinds are made: what others need first. */
const KINDS: readonly (readonly [kind: string, group: string, plural: string, namespaced: boolean])[] = [
  ["Namespace", "", "namespaces", false],
  ["CustomResourceDefinition", "apiextensions.k8s.io", "customresourcedefinitions", false],
  ["ServiceAccount", "", "serviceaccounts", true],
  ["ClusterRole", "rbac.authorization.k8s.io", "clusterroles", false],
  ["ClusterRoleBinding", "rbac.authorization.k8s.io", "clusterrolebindings", false],
  ["Role", "rbac.authorization.k8s.io", "roles", true],
  ["RoleBinding", "rbac.authorization.k8s.io", "rolebindings", true],
  ["ValidatingAdmissionPolicy", "admissionregistration.k8s.io", "validatingadmissionpolicies", false],
  ["ValidatingAdmissionPolicyBinding", "admissionregistration.k8s.io", "validatingadmissionpolicybindings", false],
  ["NetworkPolicy", "networking.k8s.io", "networkpolicies", true],
  ["PodDisruptionBudget", "policy", "poddisruptionbudgets", true],
  ["Service", "", "services", true],
  ["Deployment", "apps", "deployments", true],
  ["DaemonSet", "apps", "daemonsets", true],
  ["ValidatingWebhookConfiguration", "admissionregistration.k8s.io", "validatingwebhookconfigurations", false],
];

export interface Part {
  readonly type: ResourceType<KubeObject>;
  readonly object: KubeObject;
}

/** Definitions of resources first; objects of the mesh run `image`, if one is given. */
export function definitions(): readonly Part[] {
  return ordered(read("crds"));
}

export function meshParts(image: string | undefined): readonly Part[] {
  return ordered(read("manifests").map((object) => (image === undefined ? object : withImage(object, image))));
}

export function nameOf({ type, object: { metadata } }: Part): string {
  const name = metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
  return `${type.kind} ${name}`;
}

function ordered(objects: readonly KubeObject[]): Part[] {
  const parts = objects.map((object) => ({ type: typeOf(object), object }));
  const rank = ({ type }: Part) => KINDS.findIndex(([kind]) => kind === type.kind);
  return parts.sort((a, b) => rank(a) - rank(b));
}

function typeOf({ kind, metadata }: KubeObject): ResourceType<KubeObject> {
  const found = KINDS.find(([name]) => name === kind);
  if (found === undefined) throw new Error(`deploy/ has a kind that is not known here: ${kind} ${metadata.name}`);
  const [name, group, plural, namespaced] = found;
  return { group, version: "v1", kind: name, plural, namespaced };
}

function read(folder: string): KubeObject[] {
  const files = readdirSync(join(DEPLOY, folder)).filter((file) => file.endsWith(".yaml"));
  return files.sort().flatMap((file) =>
    parseAllDocuments(readFileSync(join(DEPLOY, folder, file), "utf8"))
      .map((document) => document.toJS() as KubeObject | null)
      .filter((object) => object !== null),
  );
}

/** Every mention of our image: containers', and the one that waypoints are made with. */
function withImage(object: KubeObject, image: string): KubeObject {
  return JSON.parse(JSON.stringify(object), (key: string, value: unknown) =>
    (key === "image" || key === "value") && typeof value === "string" && IMAGE.test(value) ? image : value,
  ) as KubeObject;
}
