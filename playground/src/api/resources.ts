/** The kinds that the API server serves from the start; custom resources join at run time. */
import type { Schema } from "./schema.ts";

export interface PrinterColumn {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  readonly priority?: number;
  readonly description?: string;
}

export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  readonly categories: readonly string[];
  /** `status`, `scale`, `log` … as in the path. */
  readonly subresources: readonly string[];
  /** Set for custom resources. */
  readonly custom?: { readonly schema: Schema | undefined; readonly columns: readonly PrinterColumn[] };
}

/** What a client may do with a stored kind. */
export const VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"] as const;

interface Extra {
  readonly short?: readonly string[];
  readonly sub?: readonly string[];
  readonly cluster?: boolean;
  readonly all?: boolean;
}

function builtIn(groupVersion: string, kind: string, plural: string, extra: Extra = {}): Resource {
  const [group = "", version = ""] = groupVersion.includes("/") ? groupVersion.split("/") : ["", groupVersion];
  return {
    group,
    version,
    kind,
    plural,
    singular: kind.toLowerCase(),
    shortNames: extra.short ?? [],
    namespaced: extra.cluster !== true,
    categories: extra.all === true ? ["all"] : [],
    subresources: extra.sub ?? [],
  };
}

export const BUILT_IN: readonly Resource[] = [
  builtIn("v1", "Namespace", "namespaces", { short: ["ns"], sub: ["status", "finalize"], cluster: true }),
  builtIn("v1", "Node", "nodes", { short: ["no"], sub: ["status"], cluster: true }),
  builtIn("v1", "Pod", "pods", {
    short: ["po"],
    sub: ["status", "log", "exec", "portforward", "binding", "eviction"],
    all: true,
  }),
  builtIn("v1", "Service", "services", { short: ["svc"], sub: ["status"], all: true }),
  builtIn("v1", "ServiceAccount", "serviceaccounts", { short: ["sa"], sub: ["token"] }),
  builtIn("v1", "ConfigMap", "configmaps", { short: ["cm"] }),
  builtIn("v1", "Secret", "secrets"),
  builtIn("v1", "Event", "events", { short: ["ev"] }),
  builtIn("apps/v1", "Deployment", "deployments", { short: ["deploy"], sub: ["status", "scale"], all: true }),
  builtIn("apps/v1", "ReplicaSet", "replicasets", { short: ["rs"], sub: ["status", "scale"], all: true }),
  builtIn("apps/v1", "DaemonSet", "daemonsets", { short: ["ds"], sub: ["status"], all: true }),
  builtIn("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
  builtIn("coordination.k8s.io/v1", "Lease", "leases"),
  builtIn("rbac.authorization.k8s.io/v1", "Role", "roles"),
  builtIn("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
  builtIn("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", { cluster: true }),
  builtIn("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", { cluster: true }),
  builtIn("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", {
    short: ["crd", "crds"],
    sub: ["status"],
    cluster: true,
  }),
];

/** Kinds that are answered and not stored: POST only. */
export const VIRTUAL: readonly Resource[] = [
  builtIn("authentication.k8s.io/v1", "TokenReview", "tokenreviews", { cluster: true }),
  builtIn("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", { cluster: true }),
  builtIn("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", { cluster: true }),
  builtIn("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", { cluster: true }),
  builtIn("authorization.k8s.io/v1", "LocalSubjectAccessReview", "localsubjectaccessreviews"),
];

/** The name of the collection in the store; all versions of a kind share it. */
export function collectionOf(resource: { group: string; plural: string }): string {
  return resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
}

export function apiVersionOf(resource: { group: string; version: string }): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

export function keyOf(resource: Resource, namespace: string | undefined, name: string): string {
  return resource.namespaced ? `${namespace ?? ""}/${name}` : name;
}

/** All kinds by group, version and plural name. */
export class Catalogue {
  readonly #byPath = new Map<string, Resource>();
  /** Bumped on each change, for discovery caches. */
  generation = 1;

  constructor() {
    for (const resource of [...BUILT_IN, ...VIRTUAL]) this.#byPath.set(pathKey(resource), resource);
  }

  find(group: string, version: string, plural: string): Resource | undefined {
    return this.#byPath.get(`${group}/${version}/${plural}`);
  }

  /** The built-in kind of that plural name. Throws on a name that is none: a mistake in our code. */
  builtIn(plural: string): Resource {
    const found = BUILT_IN.find((resource) => resource.plural === plural);
    if (found === undefined) throw new Error(`no built-in kind "${plural}"`);
    return found;
  }

  findKind(group: string, version: string, kind: string): Resource | undefined {
    return this.all().find((each) => each.group === group && each.version === version && each.kind === kind);
  }

  all(): Resource[] {
    return [...this.#byPath.values()];
  }

  add(resource: Resource): void {
    this.#byPath.set(pathKey(resource), resource);
    this.generation += 1;
  }

  removeAll(group: string, plural: string): void {
    for (const [key, resource] of this.#byPath) {
      if (resource.group === group && resource.plural === plural) this.#byPath.delete(key);
    }
    this.generation += 1;
  }
}

function pathKey(resource: Resource): string {
  return `${resource.group}/${resource.version}/${resource.plural}`;
}

export function isVirtual(resource: Resource): boolean {
  return VIRTUAL.includes(resource);
}
