/** Applies manifests of this repository, as `kubectl apply --server-side` would. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import type { KubeClient } from "#lib/kube/client.ts";
import type { KubeObject, ResourceType } from "#lib/kube/types.ts";
import { isRecord } from "./api/objects.ts";
import { Catalogue } from "./api/resources.ts";

const MANAGER = "weft-playground";

/** What only a cluster with more than one administrator, or a CNI, has a use for. */
const LEFT_OUT: ReadonlySet<unknown> = new Set([
  "NetworkPolicy",
  "PodDisruptionBudget",
  "ValidatingAdmissionPolicy",
  "ValidatingAdmissionPolicyBinding",
  "ValidatingWebhookConfiguration",
]);

/** Every document of every `.yaml` file of a folder, in the order of names. Built-in kinds only. */
export async function applyFolder(client: KubeClient, folder: string): Promise<void> {
  const files = readdirSync(folder)
    .filter((file) => file.endsWith(".yaml"))
    .sort();
  for (const file of files) {
    for (const document of parseAllDocuments(readFileSync(join(folder, file), "utf8"))) {
      const object: unknown = document.toJS();
      if (object !== null && object !== undefined) await applyObject(client, object, file);
    }
  }
}

const catalogue = new Catalogue();

async function applyObject(client: KubeClient, object: unknown, file: string): Promise<void> {
  if (!isRecord(object) || !isRecord(object.metadata)) throw new Error(`${file}: a document is no Kubernetes object`);
  if (LEFT_OUT.has(object.kind)) return;
  const [group, version] = String(object.apiVersion).includes("/")
    ? String(object.apiVersion).split("/")
    : ["", String(object.apiVersion)];
  const resource = catalogue.findKind(group ?? "", version ?? "", String(object.kind));
  if (resource === undefined) {
    throw new Error(`${file}: the playground does not offer ${object.apiVersion} ${object.kind}`);
  }
  const type: ResourceType<KubeObject> = resource;
  await client.apply(type, object as unknown as KubeObject, MANAGER);
}
