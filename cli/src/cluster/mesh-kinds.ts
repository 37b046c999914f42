/** The kinds of objects that mean something to the mesh: what `weft` works out comes from these, and a report has them. */
import {
  AUTHORIZATION_POLICIES,
  BACKEND_TLS_POLICIES,
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
  REFERENCE_GRANTS,
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

export type AnyType = ResourceType<KubeObject>;

const other = (group: string, version: string, kind: string, plural: string): AnyType => {
  return { group, version, kind, plural, namespaced: true };
};

export const DAEMON_SETS = other("apps", "v1", "DaemonSet", "daemonsets");

/** Every cluster has them, and nothing can be said without them. */
export const CLUSTER_KINDS: readonly AnyType[] = [NAMESPACES, NODES, PODS, SERVICES, SERVICE_ACCOUNTS, ENDPOINT_SLICES];

/** What runs pods. */
export const WORKLOAD_KINDS: readonly AnyType[] = [
  DEPLOYMENTS,
  other("apps", "v1", "StatefulSet", "statefulsets"),
  DAEMON_SETS,
];

/** What configures a mesh, ours or Istio's. Their definitions may be missing. */
export const CONFIG_KINDS: readonly AnyType[] = [
  GATEWAY_CLASSES,
  GATEWAYS,
  HTTP_ROUTES,
  GRPC_ROUTES,
  TLS_ROUTES,
  TCP_ROUTES,
  BACKEND_TLS_POLICIES,
  REFERENCE_GRANTS,
  AUTHORIZATION_POLICIES,
  PEER_AUTHENTICATIONS,
  REQUEST_AUTHENTICATIONS,
  SERVICE_ENTRIES,
  WORKLOAD_ENTRIES,
  VIRTUAL_SERVICES,
  DESTINATION_RULES,
  ENVOY_FILTERS,
  TELEMETRIES,
  VALIDATING_WEBHOOKS,
  other("networking.istio.io", "v1", "Gateway", "gateways"),
  other("networking.istio.io", "v1", "Sidecar", "sidecars"),
  other("networking.istio.io", "v1beta1", "ProxyConfig", "proxyconfigs"),
  other("networking.istio.io", "v1", "WorkloadGroup", "workloadgroups"),
  other("extensions.istio.io", "v1alpha1", "WasmPlugin", "wasmplugins"),
];
