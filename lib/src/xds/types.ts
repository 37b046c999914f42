/** Names that both ends of the workload discovery service (WDS) must agree on. */

/** Type URLs of the resources, in the order in which a client asks for them. */
export const ADDRESS_TYPE = "type.googleapis.com/istio.workload.Address";
export const AUTHORIZATION_TYPE = "type.googleapis.com/istio.security.Authorization";

/**
 * Types of the L7 program (proto/l7.proto), in the order in which they are sent: what is pointed to comes before what
 * points to it.
 */
export const L7_TYPE_URLS = [
  "type.googleapis.com/weft.l7.Endpoints",
  "type.googleapis.com/weft.l7.Cluster",
  "type.googleapis.com/weft.l7.Policy",
  "type.googleapis.com/weft.l7.Jwt",
  "type.googleapis.com/weft.l7.Telemetry",
  "type.googleapis.com/weft.l7.Settings",
  "type.googleapis.com/weft.l7.RouteGroup",
  "type.googleapis.com/weft.l7.Listener",
  "type.googleapis.com/weft.l7.Destination",
] as const;

export const L7_TYPE_PREFIX = "type.googleapis.com/weft.l7.";

export type L7TypeUrl = (typeof L7_TYPE_URLS)[number];

export type TypeUrl = typeof ADDRESS_TYPE | typeof AUTHORIZATION_TYPE | L7TypeUrl;

/** gRPC methods. */
export const DELTA_ADS_METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
export const CREATE_CERTIFICATE_METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/** The resource name that stands for every resource of a type. */
export const WILDCARD = "*";

/** The largest gRPC message that a client takes. */
export const MAX_MESSAGE_BYTES = 200 * 1024 * 1024;

/** Resource name of a pod's workload, also its `uid`. */
export function podUid(clusterId: string, namespace: string, name: string): string {
  return `${clusterId}//Pod/${namespace}/${name}`;
}

export function workloadEntryUid(clusterId: string, namespace: string, name: string): string {
  return `${clusterId}/networking.istio.io/WorkloadEntry/${namespace}/${name}`;
}

/** `address` is the endpoint's IP or host name. */
export function serviceEntryEndpointUid(clusterId: string, namespace: string, name: string, address: string): string {
  return `${clusterId}/networking.istio.io/ServiceEntry/${namespace}/${name}/${address}`;
}

export function endpointSliceUid(clusterId: string, namespace: string, slice: string, ip: string): string {
  return `${clusterId}/discovery.k8s.io/EndpointSlice/${namespace}/${slice}/${ip}`;
}

/** Resource name of a service, and the key of `Workload.services`. */
export function serviceKey(namespace: string, hostname: string): string {
  return `${namespace}/${hostname}`;
}

/** Resource name of an Authorization, and the form in `Workload.authorization_policies`. */
export function policyKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

/** What a delta xDS client says of itself in `Node.id`: `<type>~<ip>~<pod>.<namespace>~<namespace>.svc.cluster.local`. */
export interface NodeId {
  readonly type: string;
  readonly ip: string;
  readonly podName: string;
  readonly namespace: string;
}

export function formatNodeId(id: NodeId): string {
  return `${id.type}~${id.ip}~${id.podName}.${id.namespace}~${id.namespace}.svc.cluster.local`;
}

/** Undefined when it is not of that form. */
export function parseNodeId(text: string): NodeId | undefined {
  const [type = "", ip = "", workload = "", domain = "", ...rest] = text.split("~");
  if (type === "" || ip === "" || workload === "" || domain === "" || rest.length > 0) return undefined;
  const dot = workload.lastIndexOf(".");
  if (dot <= 0 || dot === workload.length - 1) return undefined;
  return { type, ip, podName: workload.slice(0, dot), namespace: workload.slice(dot + 1) };
}
