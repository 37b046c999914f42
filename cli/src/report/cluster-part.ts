/** What of the cluster goes into a report: objects that concern the mesh. Never a Secret. */
import { isNotFound, KubeError } from "#lib/kube/errors.ts";
import { DEPLOYMENTS, type KubeObject, NAMESPACES, NODES, PODS, SERVICES } from "#lib/kube/types.ts";
import { type AnyType, CONFIG_KINDS, DAEMON_SETS } from "../cluster/mesh-kinds.ts";
import type { Context } from "../frame/context.ts";
import type { Archive } from "./archive.ts";

const EVENTS: AnyType = { group: "", version: "v1", kind: "Event", plural: "events", namespaced: true };

/** Of the whole cluster. */
const EVERYWHERE: readonly AnyType[] = [NODES, NAMESPACES, SERVICES, ...CONFIG_KINDS];

/** Of the mesh's own namespace: elsewhere these are the users'. */
const OF_THE_MESH: readonly AnyType[] = [PODS, DEPLOYMENTS, DAEMON_SETS, EVENTS];

/** Writes `cluster/<plural>[.<group>].json` each, unless there is no such kind; what cannot be read is a line of the returned list. */
export async function collectCluster(context: Context, archive: Archive): Promise<string[]> {
  const missing: string[] = [];
  const collect = async (type: AnyType, namespace: string | undefined) => {
    try {
      const { items } = await context.cluster().client.list(type, { namespace, signal: context.signal });
      await archive.json(`cluster/${fileName(type)}.json`, items.map(withoutManagedFields));
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (isNotFound(error)) return;
      missing.push(`${fileName(type)}: ${error.message}`);
    }
  };
  for (const type of EVERYWHERE) await collect(type, undefined);
  for (const type of OF_THE_MESH) await collect(type, context.meshNamespace);
  const version = await context.cluster().client.open("/version", { signal: context.signal });
  let text = "";
  for await (const part of version as AsyncIterable<Buffer>) text += part;
  await archive.text("cluster/version.json", text);
  return missing;
}

/** As kubectl spells a kind: two groups have gateways. */
function fileName({ plural, group }: AnyType): string {
  return group === "" ? plural : `${plural}.${group}`;
}

/** They are most of the bytes, and say nothing of the mesh. What kubectl has remembered may be anything. */
function withoutManagedFields({ metadata, ...rest }: KubeObject): object {
  const { managedFields: _, annotations, ...kept } = metadata as KubeObject["metadata"] & { managedFields?: unknown };
  const { "kubectl.kubernetes.io/last-applied-configuration": __, ...others } = annotations ?? {};
  return { metadata: { ...kept, annotations: others }, ...rest };
}
