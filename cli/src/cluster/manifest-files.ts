/** Manifests named on the command line. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { KubeObject } from "#lib/kube/types.ts";
import { groupOf } from "../../../control/src/analysis/kinds.ts";
import { ManifestError, type Resource, readManifests } from "../../../control/src/analysis/manifests.ts";
import { Failure } from "../frame/errors.ts";

const MANIFEST = /\.(ya?ml|json)$/i;
const STDIN = "-";

export interface FileOptions {
  /** Folders within folders too. */
  readonly recursive: boolean;
  /** Of objects that name none. */
  readonly namespace: string;
  readonly stdin: NodeJS.ReadableStream;
}

/** All objects of files, of the manifests in folders, and of stdin for `-`. Throws Failure. */
export async function readFiles(paths: readonly string[], options: FileOptions): Promise<Resource[]> {
  const resources: Resource[] = [];
  for (const path of paths) {
    if (path === STDIN) resources.push(...parsed(await text(options.stdin), "stdin"));
    else for (const file of filesOf(path, options.recursive)) resources.push(...parsed(readText(file), file));
  }
  return resources.map((resource) => ({ ...resource, object: withNamespace(resource.object, options.namespace) }));
}

/** Kinds of ours and of Kubernetes that have no namespace. */
const CLUSTER_SCOPED = new Set([
  "Namespace",
  "Node",
  "GatewayClass",
  "ClusterRole",
  "ClusterRoleBinding",
  "CustomResourceDefinition",
  "ValidatingWebhookConfiguration",
  "MutatingWebhookConfiguration",
  "PriorityClass",
  "StorageClass",
  "PersistentVolume",
]);

function withNamespace(object: KubeObject, namespace: string): KubeObject {
  if (object.metadata.namespace !== undefined || CLUSTER_SCOPED.has(object.kind ?? "")) return object;
  return { ...object, metadata: { ...object.metadata, namespace } };
}

/** An object of a file stands in place of the cluster's. */
export function merged(cluster: readonly KubeObject[], files: readonly Resource[]): Resource[] {
  const own = new Set(files.map(({ object }) => identityOf(object)));
  return [...cluster.filter((object) => !own.has(identityOf(object))).map((object) => ({ object })), ...files];
}

function identityOf(object: KubeObject): string {
  return `${groupOf(object)}/${object.kind}/${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}

function parsed(content: string, file: string): Resource[] {
  try {
    return readManifests(content, file);
  } catch (error) {
    if (error instanceof ManifestError) throw new Failure(error.message);
    throw error;
  }
}

function filesOf(path: string, recursive: boolean): string[] {
  if (!statOf(path).isDirectory()) return [path];
  const entries = readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) return recursive ? filesOf(inner, true) : [];
    return MANIFEST.test(entry.name) ? [inner] : [];
  });
}

function statOf(path: string) {
  try {
    return statSync(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): Failure {
  const { code } = error as { code?: string };
  return new Failure(`cannot read ${path}: ${code === "ENOENT" ? "no such file" : (code ?? String(error))}`);
}
