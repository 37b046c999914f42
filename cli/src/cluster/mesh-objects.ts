/** Every object of the cluster that means something to the mesh, and how its control plane is configured. */
import { EnvError } from "#lib/env.ts";
import { isForbidden, isNotFound } from "#lib/kube/errors.ts";
import { CONFIG_MAPS, type KubeObject } from "#lib/kube/types.ts";
import { controlConfig } from "../../../control/src/config.ts";
import type { MeshSettings } from "../../../control/src/model/settings.ts";
import type { Context } from "../frame/context.ts";
import { type AnyType, CLUSTER_KINDS, CONFIG_KINDS, WORKLOAD_KINDS } from "./mesh-kinds.ts";

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
    ...CLUSTER_KINDS.map((type) => listed(type, false)),
    ...[...WORKLOAD_KINDS, ...CONFIG_KINDS].map((type) => listed(type, true)),
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
