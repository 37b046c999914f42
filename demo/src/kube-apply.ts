/** `kubectl apply -f -` and `delete -f -`, for the kinds that our manifests hold. */
import { parseAllDocuments } from "yaml";
import type { KubeClient } from "#lib/kube/client.ts";
import { isNotFound } from "#lib/kube/errors.ts";
import type { KubeObject, ResourceType } from "#lib/kube/types.ts";

const FIELD_MANAGER = "weft-demo";
/** A CRD is served a moment after it was stored. */
const CRD_WAIT_MS = 10_000;
const CRD_PAUSE_MS = 100;

const CLUSTER_WIDE = new Set([
  "Namespace",
  "Node",
  "ClusterRole",
  "ClusterRoleBinding",
  "CustomResourceDefinition",
  "PriorityClass",
]);

/** Applies the documents in their order, as their only owner: fields that a document left out go away. */
export async function applyManifest(client: KubeClient, manifest: string): Promise<void> {
  for (const object of documents(manifest)) {
    await whenServed(() => client.apply(typeOf(object), object, FIELD_MANAGER));
  }
}

/** Deletes the documents' objects, last first. What is not there is fine. */
export async function removeManifest(client: KubeClient, manifest: string): Promise<void> {
  for (const object of documents(manifest).reverse()) {
    await client.delete(typeOf(object), nameOf(object)).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
  }
}

function documents(manifest: string): KubeObject[] {
  return parseAllDocuments(manifest)
    .map((document) => document.toJS() as KubeObject | null)
    .filter((object) => object !== null);
}

/** Plural names of the kinds in use follow English; there is no discovery here. */
export function typeOf(object: KubeObject): ResourceType<KubeObject> {
  const { apiVersion = "", kind = "" } = object;
  const [group = "", version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
  if (version === undefined || version === "" || kind === "") {
    throw new Error(`${object.metadata?.name ?? "an object"}: apiVersion and kind are needed`);
  }
  const plural = kind
    .toLowerCase()
    .replace(/(?<![aeiou])y$/, "ie")
    .replace(/(s|x|ch)$/, "$1e")
    .concat("s");
  return { group, version, kind, plural, namespaced: !CLUSTER_WIDE.has(kind) };
}

function nameOf({ metadata }: KubeObject): { name: string; namespace?: string } {
  const { name, namespace } = metadata;
  return namespace === undefined ? { name } : { name, namespace };
}

async function whenServed(attempt: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + CRD_WAIT_MS;
  for (;;) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (!isNotFound(error) || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, CRD_PAUSE_MS));
    }
  }
}
