/** Every object of the cluster that means something to the mesh, and how its control plane is configured. */
import { EnvError } from "#lib/env.ts";
import { isForbidden, isNotFound } from "#lib/kube/errors.ts";
import {
  AUTHORIZATION_POLICIES,
  CONFIG_MAPS,
  DEPLOYMENTS,
  DESTINATION_RULES,
  ENDPOINT_SLICES,
  ENVOY_FILTERS,
  GATEWAY_CLASSES,
  GATEWAYS,
  GRPC_ROUTES,
  HTTP_ROUTES,
  type KubeObject,
  NAMESPACES,
  NODES,
  PEER_AUTHENTICATIONS,
  PODS,
  REQUEST_AUTHENTICATIONS,
  type ResourceType,
  SERVICE_ACCOUNTS,
  SERVICE_ENTRIES,
  SERVICES,
  TCP_ROUTES,
  TELEMETRIES,
  TLS_ROUTES,
  VIRTUAL_SERVICES,
  WORKLOAD_ENTRIES,
} from "#lib/kube/types.ts";
import { VALIDATING_WEBHOOKS } from "../../../control/src/admission/webhook-controller.ts";
import { controlConfig } from "../../../control/src/config.ts";
import type { MeshSettings } from "../../../control/src/model/settings.ts";
import type { Context } from "../frame/context.ts";

type AnyType = ResourceType<KubeObject>;

const other = (group: string, version: string, kind: string, plural: string): AnyType => {
  return { group, version, kind, plural, namespaced: true };
};

/** Kinds without which nothing can be said. */
const REQUIRED: readonly AnyType[] = [NAMESPACES, NODES, PODS, SERVICES, SERVICE_ACCOUNTS, ENDPOINT_SLICES];

/** Their definitions may be missing. */
const OPTIONAL: readonly AnyType[] = [
  DEPLOYMENTS,
  GATEWAY_CLASSES,
  GATEWAYS,
  AUTHORIZATION_POLICIES,
  PEER_AUTHENTICATIONS,
  REQUEST_AUTHENTICATIONS,
  SERVICE_ENTRIES,
  WORKLOAD_ENTRIES,
  VIRTUAL_SERVICES,
  DESTINATION_RULES,
  ENVOY_FILTERS,
  TELEMETRIES,
  HTTP_ROUTES,
  GRPC_ROUTES,
  TLS_ROUTES,
  TCP_ROUTES,
  VALIDATING_WEBHOOKS,
  other("apps", "v1", "StatefulSet", "statefulsets"),
  other("apps", "v1", "DaemonSet", "daemonsets"),
  other("networking.istio.io", "v1", "Gateway", "gateways"),
  other("networking.istio.io", "v1", "Sidecar", "sidecars"),
  other("networking.istio.io", "v1beta1", "ProxyConfig", "proxyconfigs"),
  other("networking.istio.io", "v1", "WorkloadGroup", "workloadgroups"),
  other("extensions.istio.io", "v1alpha1", "WasmPlugin", "wasmplugins"),
];

const MESH_CONFIG = "istio";

export interface MeshObjects {
  readonly objects: readonly KubeObject[];
  /** Kinds that we were not let see. */
  readonly forbidden: readonly string[];
}

export async function meshObjects(context: Context): Promise<MeshObjects> {
  context.progress("reading the cluster's objects");
  const { client } = context.cluster();
  const { signal, meshNamespace } = context;
  const forbidden: string[] = [];
  const listed = async (type: AnyType, isOptional: boolean): Promise<readonly KubeObject[]> => {
    try {
      const { items } = await client.list(type, { signal });
      return items.map((item) => withType(item, type));
    } catch (error) {
      if (isOptional && isNotFound(error)) return [];
      if (!isOptional || !isForbidden(error)) throw error;
      forbidden.push(type.kind);
      return [];
    }
  };
  const kinds = await Promise.all([
    ...REQUIRED.map((type) => listed(type, false)),
    ...OPTIONAL.map((type) => listed(type, true)),
  ]);
  const config = await client
    .get(CONFIG_MAPS, { namespace: meshNamespace, name: MESH_CONFIG }, { signal })
    .then((found) => [withType(found, CONFIG_MAPS)])
    .catch((error: unknown) => {
      if (isNotFound(error)) return [];
      if (!isForbidden(error)) throw error;
      forbidden.push(CONFIG_MAPS.kind);
      return [];
    });
  return { objects: [...kinds.flat(), ...config], forbidden };
}

/** Items of a list do not say what they are. */
function withType(object: KubeObject, { group, version, kind }: AnyType): KubeObject {
  return { ...object, apiVersion: group === "" ? version : `${group}/${version}`, kind };
}

interface ControlDeployment {
  readonly spec?: {
    readonly template?: {
      readonly spec?: {
        readonly containers?: readonly {
          readonly env?: readonly { readonly name: string; readonly value?: string }[];
        }[];
      };
    };
  };
}

/** As the control plane among the objects is configured; Istio's defaults where there is none of ours. */
export function meshSettings(objects: readonly KubeObject[], meshNamespace: string): MeshSettings {
  const control = objects.find(
    ({ kind, metadata }) =>
      kind === "Deployment" && metadata.namespace === meshNamespace && metadata.name === "weft-control",
  ) as ControlDeployment | undefined;
  const written = control?.spec?.template?.spec?.containers?.[0]?.env ?? [];
  const env = Object.fromEntries(written.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]])));
  try {
    return controlConfig({ ...env, POD_NAMESPACE: meshNamespace }).mesh;
  } catch (error) {
    // Such a control plane does not start either.
    if (!(error instanceof EnvError)) throw error;
    return controlConfig({ POD_NAMESPACE: meshNamespace }).mesh;
  }
}
