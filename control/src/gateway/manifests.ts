/** What is made for one waypoint: an account, a Deployment and a Service, as they are applied. */
import type { Deployment, KubeObject, ObjectMeta, Service, ServiceAccount } from "#lib/kube/types.ts";
import { ROOT_CONFIG_MAP } from "../ca/root-distributor.ts";
import {
  accountName,
  GATEWAY_CLASS_LABEL,
  GATEWAY_NAME_LABEL,
  type GatewayFacts,
  HBONE_PORT,
  hasOwnAccount,
  MANAGED_LABEL,
  resourceName,
  shortened,
} from "../model/gateway.ts";
import type { Labels } from "../model/meta.ts";

export interface ManifestSettings {
  readonly image: string;
  readonly clusterId: string;
  readonly trustDomain: string;
  /** Namespace of the control plane. */
  readonly rootNamespace: string;
  /** What a token must be meant for. */
  readonly tokenAudience: string;
}

export interface WaypointObjects {
  /** Absent: the Gateway names one that somebody else makes. */
  readonly serviceAccount?: ServiceAccount;
  readonly service: Service;
  readonly deployment: Deployment;
}

const STATUS_PORT = 15_021;
const METRICS_PORT = 15_020;
/** Of the pods; the engine's own deadline lies below it. */
const GRACE_SECONDS = 30;
/** Together with the engine's deadline (five seconds below the grace) less than that. */
const LEAVING_SECONDS = 3;
const USER = 1337;
const TOKENS = "/var/run/secrets/tokens";
const ROOTS = "/var/run/secrets/istio";
const DISCOVERY_PORT = 15_012;

/** `controller` is the name under which the Gateway's class is served. */
export function waypointObjects(
  gateway: GatewayFacts,
  controller: string,
  settings: ManifestSettings,
): WaypointObjects {
  const name = resourceName(gateway);
  const { namespace, infrastructure } = gateway;
  const own = {
    [GATEWAY_NAME_LABEL]: shortened(gateway.name),
    [GATEWAY_CLASS_LABEL]: shortened(gateway.className),
    [MANAGED_LABEL]: managedBy(controller),
  };
  const labels = { ...infrastructure.labels, ...own };
  const meta: ObjectMeta = {
    name,
    namespace,
    labels,
    annotations: infrastructure.annotations,
    // So that it goes when the Gateway goes.
    ownerReferences: [
      { apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", name: gateway.name, uid: gateway.uid },
    ],
  };
  return {
    ...(hasOwnAccount(gateway) ? {} : { serviceAccount: { metadata: { ...meta, name: accountName(gateway) } } }),
    service: service(meta, gateway),
    deployment: deployment(meta, gateway, settings),
  };
}

export function managedBy(controller: string): string {
  return controller.replaceAll("/", "-");
}

function selector(gateway: GatewayFacts): Labels {
  return { [GATEWAY_NAME_LABEL]: shortened(gateway.name) };
}

function service(meta: ObjectMeta, gateway: GatewayFacts): Service {
  const spec = {
    type: "ClusterIP",
    ipFamilyPolicy: "PreferDualStack",
    selector: selector(gateway),
    ports: [
      { name: "status-port", port: STATUS_PORT, targetPort: STATUS_PORT, protocol: "TCP", appProtocol: "tcp" },
      { name: "mesh", port: HBONE_PORT, targetPort: HBONE_PORT, protocol: "TCP", appProtocol: "hbone" },
    ],
  };
  const annotations = { "networking.istio.io/traffic-distribution": "PreferClose", ...meta.annotations };
  return { metadata: { ...meta, annotations }, spec };
}

function deployment(meta: ObjectMeta, gateway: GatewayFacts, settings: ManifestSettings): Deployment {
  const podLabels = {
    ...meta.labels,
    // It is the mesh; nobody captures it.
    "istio.io/dataplane-mode": "none",
    "sidecar.istio.io/inject": "false",
    "service.istio.io/canonical-name": meta.name,
    "service.istio.io/canonical-revision": "latest",
  };
  const podAnnotations = {
    "prometheus.io/scrape": "true",
    "prometheus.io/path": "/stats/prometheus",
    "prometheus.io/port": String(METRICS_PORT),
    ...meta.annotations,
  };
  // `replicas` is not ours: whoever scales it, an autoscaler perhaps, has the say.
  const spec = {
    selector: { matchLabels: selector(gateway) },
    strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    template: {
      metadata: { labels: podLabels, annotations: podAnnotations },
      spec: {
        serviceAccountName: accountName(gateway),
        terminationGracePeriodSeconds: GRACE_SECONDS,
        securityContext: {
          runAsNonRoot: true,
          runAsUser: USER,
          runAsGroup: USER,
          seccompProfile: { type: "RuntimeDefault" },
        },
        containers: [container(podLabels, settings)],
        volumes: [
          {
            name: "istio-token",
            projected: {
              sources: [
                {
                  serviceAccountToken: {
                    path: "istio-token",
                    audience: settings.tokenAudience,
                    expirationSeconds: 43_200,
                  },
                },
              ],
            },
          },
          { name: "istio-ca-root-cert", configMap: { name: ROOT_CONFIG_MAP } },
        ],
      },
    },
  };
  return { metadata: meta, spec };
}

function container(labels: Labels, settings: ManifestSettings): object {
  const controlPlane = `https://istiod.${settings.rootNamespace}.svc:${DISCOVERY_PORT}`;
  const root = `${ROOTS}/root-cert.pem`;
  return {
    name: "waypoint",
    image: settings.image,
    command: ["weft-waypoint"],
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    },
    ports: [
      { name: "mesh", containerPort: HBONE_PORT, protocol: "TCP" },
      { name: "http-metrics", containerPort: METRICS_PORT, protocol: "TCP" },
      { name: "status-port", containerPort: STATUS_PORT, protocol: "TCP" },
    ],
    env: [
      field("POD_NAME", "metadata.name"),
      field("POD_NAMESPACE", "metadata.namespace"),
      field("INSTANCE_IP", "status.podIP"),
      field("NODE_NAME", "spec.nodeName"),
      field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
      { name: "TRUST_DOMAIN", value: settings.trustDomain },
      { name: "ISTIO_META_CLUSTER_ID", value: settings.clusterId },
      { name: "ISTIO_METAJSON_LABELS", value: JSON.stringify(labels) },
      { name: "XDS_ADDRESS", value: controlPlane },
      { name: "CA_ADDRESS", value: controlPlane },
      { name: "XDS_ROOT_CA", value: root },
      { name: "CA_ROOT_CA", value: root },
      { name: "AUTH_TOKEN", value: `${TOKENS}/istio-token` },
      { name: "TERMINATION_GRACE_PERIOD_SECONDS", value: String(GRACE_SECONDS) },
    ],
    readinessProbe: {
      httpGet: { path: "/healthz/ready", port: STATUS_PORT },
      initialDelaySeconds: 1,
      periodSeconds: 2,
      failureThreshold: 4,
    },
    // The pod is marked as going before this begins: agents have stopped sending by the time the drain refuses newcomers.
    lifecycle: { preStop: { exec: { command: ["sleep", String(LEAVING_SECONDS)] } } },
    resources: { requests: { cpu: "100m", memory: "64Mi" } },
    volumeMounts: [
      { name: "istio-token", mountPath: TOKENS, readOnly: true },
      { name: "istio-ca-root-cert", mountPath: ROOTS, readOnly: true },
    ],
  };
}

function field(name: string, fieldPath: string): object {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

/** Whether an object was made by us for the Gateway of this name. */
export function isMadeFor(object: KubeObject, gatewayName: string, managed: string): boolean {
  const { labels } = object.metadata;
  return labels?.[MANAGED_LABEL] === managed && labels[GATEWAY_NAME_LABEL] === shortened(gatewayName);
}
