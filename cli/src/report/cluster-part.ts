/** What of the cluster goes into a report: objects that concern the mesh. Never a Secret. */
import { KubeError } from "#lib/kube/errors.ts";
import {
  AUTHORIZATION_POLICIES,
  DEPLOYMENTS,
  DESTINATION_RULES,
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
  SERVICE_ENTRIES,
  SERVICES,
  TCP_ROUTES,
  TELEMETRIES,
  TLS_ROUTES,
  VIRTUAL_SERVICES,
  WORKLOAD_ENTRIES,
} from "#lib/kube/types.ts";
import type { Context } from "../frame/context.ts";
import type { Archive } from "./archive.ts";

type AnyType = ResourceType<KubeObject>;

const DAEMON_SETS: AnyType = {
  group: "apps",
  version: "v1",
  kind: "DaemonSet",
  plural: "daemonsets",
  namespaced: true,
};
const EVENTS: AnyType = { group: "", version: "v1", kind: "Event", plural: "events", namespaced: true };

/** Of the whole cluster. */
const EVERYWHERE: readonly AnyType[] = [
  NODES,
  NAMESPACES,
  SERVICES,
  GATEWAY_CLASSES,
  GATEWAYS,
  HTTP_ROUTES,
  GRPC_ROUTES,
  TLS_ROUTES,
  TCP_ROUTES,
  VIRTUAL_SERVICES,
  DESTINATION_RULES,
  SERVICE_ENTRIES,
  WORKLOAD_ENTRIES,
  AUTHORIZATION_POLICIES,
  PEER_AUTHENTICATIONS,
  REQUEST_AUTHENTICATIONS,
  TELEMETRIES,
];

/** Of the mesh's own namespace: elsewhere these are the users'. */
const OF_THE_MESH: readonly AnyType[] = [PODS, DEPLOYMENTS, DAEMON_SETS, EVENTS];

/** Writes `cluster/<plural>.json` each; what cannot be read is a line of the returned list. */
export async function collectCluster(context: Context, archive: Archive): Promise<string[]> {
  const missing: string[] = [];
  const collect = async (type: AnyType, namespace: string | undefined) => {
    try {
      const { items } = await context.cluster().client.list(type, { namespace, signal: context.signal });
      await archive.json(`cluster/${type.plural}.json`, items.map(withoutManagedFields));
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      missing.push(`${type.plural}: ${error.message}`);
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

/** They are most of the bytes, and say nothing of the mesh. What kubectl has remembered may be anything. */
function withoutManagedFields({ metadata, ...rest }: KubeObject): object {
  const { managedFields: _, annotations, ...kept } = metadata as KubeObject["metadata"] & { managedFields?: unknown };
  const { "kubectl.kubernetes.io/last-applied-configuration": __, ...others } = annotations ?? {};
  return { metadata: { ...kept, annotations: others }, ...rest };
}
