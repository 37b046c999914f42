/**
 * The parts of Kubernetes objects that we read or write. Only fields in use are named; whatever else an object has
 * passes through untouched, because objects are plain JSON.
 */

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
}

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** RFC 3339. */
  readonly creationTimestamp?: string;
  /** Set while the object is being deleted. */
  readonly deletionTimestamp?: string;
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

/** Where a kind of object lives in the API. */
export interface ResourceType<T extends KubeObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** Never set; carries the type of the objects. */
  readonly object?: T;
}

export interface KubeList<T extends KubeObject> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly T[];
}

export type WatchEvent<T extends KubeObject> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: T }
  | { readonly type: "BOOKMARK"; readonly object: { readonly metadata: { readonly resourceVersion: string } } };

/** The answer of the API to a failed request, also the object of a watch's ERROR event. */
export interface Status {
  readonly kind?: "Status";
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
}

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
  readonly observedGeneration?: number;
}

export interface Namespace extends KubeObject {
  readonly status?: { readonly phase?: string };
}

export type Node = KubeObject;

export type ServiceAccount = KubeObject;

export interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

export interface Secret extends KubeObject {
  readonly type?: string;
  /** Values are base64. */
  readonly data?: Readonly<Record<string, string>>;
}

export interface ContainerPort {
  readonly name?: string;
  readonly containerPort: number;
  readonly protocol?: string;
}

export interface Container {
  readonly name: string;
  readonly ports?: readonly ContainerPort[];
  readonly restartPolicy?: string;
}

export interface Pod extends KubeObject {
  readonly spec?: {
    readonly nodeName?: string;
    readonly serviceAccountName?: string;
    readonly hostNetwork?: boolean;
    readonly containers?: readonly Container[];
    readonly initContainers?: readonly Container[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly Condition[];
  };
}

export interface ServicePort {
  readonly name?: string;
  readonly protocol?: string;
  readonly port: number;
  readonly targetPort?: number | string;
  readonly appProtocol?: string;
}

export interface Service extends KubeObject {
  readonly spec?: {
    readonly type?: string;
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly ipFamilies?: readonly string[];
    readonly ports?: readonly ServicePort[];
    readonly selector?: Readonly<Record<string, string>>;
    readonly internalTrafficPolicy?: string;
    readonly trafficDistribution?: string;
    readonly publishNotReadyAddresses?: boolean;
  };
}

export interface EndpointSlice extends KubeObject {
  readonly addressType?: string;
  readonly endpoints?: readonly {
    readonly addresses: readonly string[];
    readonly conditions?: { readonly ready?: boolean; readonly serving?: boolean; readonly terminating?: boolean };
    readonly targetRef?: { readonly kind?: string; readonly namespace?: string; readonly name?: string };
    readonly nodeName?: string;
    readonly zone?: string;
  }[];
  readonly ports?: readonly { readonly name?: string; readonly port?: number; readonly protocol?: string }[];
}

/** An Istio object: its spec is checked by the code that reads it, never trusted. */
export interface IstioObject extends KubeObject {
  readonly spec?: unknown;
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly addresses?: readonly { readonly value?: string; readonly host?: string }[];
  };
}

/** What one controller says of one parent of a route. */
export interface RouteParentStatus {
  readonly parentRef: unknown;
  readonly controllerName: string;
  readonly conditions?: readonly Condition[];
}

/** A route of the Gateway API: its spec is checked by the code that reads it, and anybody may have written its status. */
export interface RouteObject extends KubeObject {
  readonly spec?: unknown;
  readonly status?: { readonly parents?: readonly RouteParentStatus[] };
}

/** What one controller says of a policy at one Gateway. */
export interface PolicyAncestorStatus {
  readonly ancestorRef: unknown;
  readonly controllerName: string;
  readonly conditions?: readonly Condition[];
}

/** A policy of the Gateway API that is attached to other objects. */
export interface PolicyObject extends KubeObject {
  readonly spec?: unknown;
  readonly status?: { readonly ancestors?: readonly PolicyAncestorStatus[] };
}

/** A GatewayClass or Gateway: anybody may have written its status. */
export interface GatewayObject extends KubeObject {
  readonly spec?: unknown;
  readonly status?: {
    readonly addresses?: readonly { readonly type?: string; readonly value?: string }[];
    readonly conditions?: readonly Condition[];
    readonly listeners?: readonly ListenerStatus[];
  };
}

export interface ListenerStatus {
  readonly name: string;
  readonly supportedKinds: readonly { readonly group: string; readonly kind: string }[];
  readonly attachedRoutes: number;
  readonly conditions: readonly Condition[];
}

export interface Deployment extends KubeObject {
  readonly spec?: unknown;
  readonly status?: { readonly readyReplicas?: number };
}

export const NAMESPACES = core<Namespace>("Namespace", "namespaces", false);
export const NODES = core<Node>("Node", "nodes", false);
export const PODS = core<Pod>("Pod", "pods");
export const SERVICES = core<Service>("Service", "services");
export const SERVICE_ACCOUNTS = core<ServiceAccount>("ServiceAccount", "serviceaccounts");
export const CONFIG_MAPS = core<ConfigMap>("ConfigMap", "configmaps");
export const SECRETS = core<Secret>("Secret", "secrets");
export const ENDPOINT_SLICES: ResourceType<EndpointSlice> = {
  group: "discovery.k8s.io",
  version: "v1",
  kind: "EndpointSlice",
  plural: "endpointslices",
  namespaced: true,
};
export const AUTHORIZATION_POLICIES = istio("security.istio.io", "AuthorizationPolicy", "authorizationpolicies");
export const PEER_AUTHENTICATIONS = istio("security.istio.io", "PeerAuthentication", "peerauthentications");
export const SERVICE_ENTRIES = istio("networking.istio.io", "ServiceEntry", "serviceentries");
export const WORKLOAD_ENTRIES = istio("networking.istio.io", "WorkloadEntry", "workloadentries");
export const GATEWAY_CLASSES = gatewayApi<GatewayObject>("GatewayClass", "gatewayclasses", false);
export const GATEWAYS = gatewayApi<GatewayObject>("Gateway", "gateways");
export const BACKEND_TLS_POLICIES = gatewayApi<PolicyObject>("BackendTLSPolicy", "backendtlspolicies");
/** Served as v1 by the newest releases only. */
export const REFERENCE_GRANTS: ResourceType<IstioObject> = {
  ...gatewayApi<IstioObject>("ReferenceGrant", "referencegrants"),
  version: "v1beta1",
};
export const DEPLOYMENTS: ResourceType<Deployment> = {
  group: "apps",
  version: "v1",
  kind: "Deployment",
  plural: "deployments",
  namespaced: true,
};
export const VIRTUAL_SERVICES = istio("networking.istio.io", "VirtualService", "virtualservices");
export const DESTINATION_RULES = istio("networking.istio.io", "DestinationRule", "destinationrules");
export const ENVOY_FILTERS: ResourceType<IstioObject> = {
  group: "networking.istio.io",
  version: "v1alpha3",
  kind: "EnvoyFilter",
  plural: "envoyfilters",
  namespaced: true,
};
export const TELEMETRIES = istio("telemetry.istio.io", "Telemetry", "telemetries");

export const REQUEST_AUTHENTICATIONS = istio("security.istio.io", "RequestAuthentication", "requestauthentications");
export const HTTP_ROUTES = gatewayApi<RouteObject>("HTTPRoute", "httproutes");
export const GRPC_ROUTES = gatewayApi<RouteObject>("GRPCRoute", "grpcroutes");
export const TLS_ROUTES = gatewayApi<RouteObject>("TLSRoute", "tlsroutes");
export const TCP_ROUTES = gatewayApi<RouteObject>("TCPRoute", "tcproutes");

function core<T extends KubeObject>(kind: string, plural: string, namespaced = true): ResourceType<T> {
  return { group: "", version: "v1", kind, plural, namespaced };
}

function istio(group: string, kind: string, plural: string): ResourceType<IstioObject> {
  return { group, version: "v1", kind, plural, namespaced: true };
}

function gatewayApi<T extends KubeObject>(kind: string, plural: string, namespaced = true): ResourceType<T> {
  return { group: "gateway.networking.k8s.io", version: "v1", kind, plural, namespaced };
}
