/** What the API offers: /api, /apis, their resource lists, the aggregated form, and a minimal OpenAPI. */
import type { JsonRecord } from "./objects.ts";
import { apiVersionOf, type Catalogue, isVirtual, type Resource, VERBS } from "./resources.ts";

/** The release whose behaviour we follow; kubectl compares it with its own. */
export const VERSION = {
  major: "1",
  minor: "34",
  gitVersion: "v1.34.0+weft-playground",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: "",
  compiler: "node",
  platform: "linux",
} as const;

export function legacyVersions(): JsonRecord {
  return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] };
}

/** Versions of one group, best first. */
function versionsOf(resources: readonly Resource[], group: string): string[] {
  const versions = [...new Set(resources.filter((each) => each.group === group).map((each) => each.version))];
  return versions.sort((a, b) => rank(b) - rank(a) || (a < b ? -1 : 1));
}

/** v2 before v1 before v1beta2 before v1beta1 before v1alpha3. */
function rank(version: string): number {
  const [, major = "0", stage, minor = "0"] = /^v(\d+)(alpha|beta)?(\d+)?$/.exec(version) ?? [];
  const weight = stage === undefined ? 2 : stage === "beta" ? 1 : 0;
  return weight * 1_000_000 + Number(major) * 1000 + Number(minor);
}

export function groupList(catalogue: Catalogue): JsonRecord {
  const resources = catalogue.all();
  const groups = [...new Set(resources.map((each) => each.group))].filter((group) => group !== "");
  return { kind: "APIGroupList", apiVersion: "v1", groups: groups.map((group) => groupObject(resources, group)) };
}

export function groupInfo(catalogue: Catalogue, group: string): JsonRecord | undefined {
  const resources = catalogue.all();
  if (!resources.some((each) => each.group === group)) return undefined;
  return { kind: "APIGroup", apiVersion: "v1", ...groupObject(resources, group) };
}

function groupObject(resources: readonly Resource[], group: string): JsonRecord {
  const versions = versionsOf(resources, group).map((version) => ({ groupVersion: `${group}/${version}`, version }));
  return { name: group, versions, preferredVersion: versions[0] };
}

export function resourceList(catalogue: Catalogue, group: string, version: string): JsonRecord | undefined {
  const resources = catalogue.all().filter((each) => each.group === group && each.version === version);
  if (resources.length === 0) return undefined;
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: group === "" ? version : `${group}/${version}`,
    resources: resources.flatMap((resource) => [
      {
        name: resource.plural,
        singularName: resource.singular,
        namespaced: resource.namespaced,
        kind: resource.kind,
        verbs: verbsOf(resource),
        ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
        ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
      },
      ...resource.subresources.map((name) => ({
        name: `${resource.plural}/${name}`,
        singularName: "",
        namespaced: resource.namespaced,
        ...subresourceKind(resource, name),
      })),
    ]),
  };
}

function verbsOf(resource: Resource): readonly string[] {
  return isVirtual(resource) ? ["create"] : VERBS;
}

function subresourceKind(
  resource: Resource,
  name: string,
): { group?: string; version?: string; kind: string; verbs: string[] } {
  switch (name) {
    case "scale":
      return { group: "autoscaling", version: "v1", kind: "Scale", verbs: ["get", "patch", "update"] };
    case "log":
      return { kind: resource.kind, verbs: ["get"] };
    case "exec":
      return { kind: "PodExecOptions", verbs: ["create", "get"] };
    case "portforward":
      return { kind: "PodPortForwardOptions", verbs: ["create", "get"] };
    case "eviction":
      return { group: "policy", version: "v1", kind: "Eviction", verbs: ["create"] };
    case "binding":
      return { kind: "Binding", verbs: ["create"] };
    case "token":
      return { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest", verbs: ["create"] };
    default:
      return { kind: resource.kind, verbs: ["get", "patch", "update"] };
  }
}

/** The aggregated form (apidiscovery.k8s.io/v2): everything in one answer. */
export function aggregated(catalogue: Catalogue, isCore: boolean): JsonRecord {
  const resources = catalogue.all();
  const groups = [...new Set(resources.map((each) => each.group))].filter((group) => (group === "") === isCore);
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: "apidiscovery.k8s.io/v2",
    metadata: {},
    items: groups.map((group) => ({
      metadata: { name: group, creationTimestamp: null },
      versions: versionsOf(resources, group).map((version) => ({
        version,
        freshness: "Current",
        resources: resources
          .filter((each) => each.group === group && each.version === version)
          .map((resource) => aggregatedResource(resource)),
      })),
    })),
  };
}

function aggregatedResource(resource: Resource): JsonRecord {
  const kind = (each: { group?: string; version?: string; kind: string }) => ({
    group: each.group ?? resource.group,
    version: each.version ?? resource.version,
    kind: each.kind,
  });
  return {
    resource: resource.plural,
    responseKind: kind({ kind: resource.kind }),
    scope: resource.namespaced ? "Namespaced" : "Cluster",
    singularResource: resource.singular,
    verbs: verbsOf(resource),
    ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
    ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
    ...(resource.subresources.length > 0
      ? {
          subresources: resource.subresources.map((name) => {
            const sub = subresourceKind(resource, name);
            return { subresource: name, responseKind: kind(sub), verbs: sub.verbs };
          }),
        }
      : {}),
  };
}

export function openApiIndex(catalogue: Catalogue): JsonRecord {
  const versions = new Set(
    catalogue.all().map((each) => (each.group === "" ? `api/${each.version}` : `apis/${apiVersionOf(each)}`)),
  );
  const paths = [...versions].map((path) => [
    path,
    { serverRelativeURL: `/openapi/v3/${path}?hash=${catalogue.generation}` },
  ]);
  return { paths: Object.fromEntries(paths) };
}

/** Enough for kubectl to see that the server validates fields by itself, and for `kubectl explain` of custom kinds. */
export function openApi(catalogue: Catalogue, group: string, version: string): JsonRecord | undefined {
  const resources = catalogue.all().filter((each) => each.group === group && each.version === version);
  if (resources.length === 0) return undefined;
  const paths: JsonRecord = {};
  const schemas: JsonRecord = {};
  for (const resource of resources) {
    const gvk = { group, version, kind: resource.kind };
    const base = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
    const path = `${base}${resource.namespaced ? "/namespaces/{namespace}" : ""}/${resource.plural}/{name}`;
    const query = (name: string) => ({ name, in: "query", schema: { type: "string" } });
    const operation = {
      parameters: [query("dryRun"), query("fieldManager"), query("fieldValidation")],
      responses: {},
      "x-kubernetes-group-version-kind": gvk,
    };
    paths[path] = { get: operation, patch: operation, put: operation };
    schemas[`${group || "core"}.${version}.${resource.kind}`] = {
      type: "object",
      ...(resource.custom?.schema ?? {}),
      "x-kubernetes-group-version-kind": [gvk],
    };
  }
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: VERSION.gitVersion },
    paths,
    components: { schemas },
  };
}
