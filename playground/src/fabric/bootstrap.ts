/** What a cluster has before anybody uses it. */
import type { Registry } from "../api/registry.ts";
import { API_PORT } from "../config.ts";
import { SERVICE_NAME_LABEL } from "../controllers/endpointslice.ts";
import { populate } from "../controllers/lifecycle.ts";
import type { AddressPair, NetworkPlan } from "../network/plan.ts";

const NAMESPACES = ["default", "kube-system", "kube-public", "kube-node-lease"];
export const DNS_PORT = 53;

export function bootstrap(registry: Registry, plan: NetworkPlan, rootCertificate: string): void {
  const resource = (plural: string) => registry.catalogue.builtIn(plural);
  for (const name of NAMESPACES) {
    registry.create(resource("namespaces"), undefined, { metadata: { name, labels: metadataName(name) } });
    populate({ registry, resource }, name, rootCertificate);
  }
  for (const role of clusterRoles()) registry.create(resource("clusterroles"), undefined, role);

  service(registry, "default", "kubernetes", plan.kubernetesService, plan.fabric, [
    { name: "https", port: 443, targetPort: API_PORT, protocol: "TCP" },
  ]);
  service(registry, "kube-system", "kube-dns", plan.dnsService, plan.fabric, [
    { name: "dns", port: 53, targetPort: DNS_PORT, protocol: "UDP" },
    { name: "dns-tcp", port: 53, targetPort: DNS_PORT, protocol: "TCP" },
  ]);
}

export function metadataName(name: string): Record<string, string> {
  return { "kubernetes.io/metadata.name": name };
}

function clusterRoles(): Record<string, unknown>[] {
  const everything = [{ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }];
  const reading = [{ apiGroups: ["*"], resources: ["*"], verbs: ["get", "list", "watch"] }];
  const reviews = [
    { apiGroups: ["authentication.k8s.io"], resources: ["tokenreviews"], verbs: ["create"] },
    { apiGroups: ["authorization.k8s.io"], resources: ["subjectaccessreviews"], verbs: ["create"] },
  ];
  return [
    { metadata: { name: "cluster-admin" }, rules: everything },
    { metadata: { name: "view" }, rules: reading },
    { metadata: { name: "system:auth-delegator" }, rules: reviews },
  ];
}

interface Port {
  name: string;
  port: number;
  targetPort: number;
  protocol: string;
}

/** A service without a selector, and the slices that say where it is. */
function service(
  registry: Registry,
  namespace: string,
  name: string,
  vips: AddressPair,
  at: AddressPair,
  ports: readonly Port[],
): void {
  registry.create(registry.catalogue.builtIn("services"), namespace, {
    metadata: { name, labels: { "kubernetes.io/name": name } },
    spec: {
      clusterIP: vips.v4,
      clusterIPs: [vips.v4, vips.v6],
      ipFamilies: ["IPv4", "IPv6"],
      ipFamilyPolicy: "PreferDualStack",
      ports,
    },
  });
  for (const [addressType, address] of [
    ["IPv4", at.v4],
    ["IPv6", at.v6],
  ] as const) {
    registry.create(registry.catalogue.builtIn("endpointslices"), namespace, {
      metadata: { name: `${name}-${addressType.toLowerCase()}`, labels: { [SERVICE_NAME_LABEL]: name } },
      addressType,
      endpoints: [{ addresses: [address], conditions: { ready: true, serving: true, terminating: false } }],
      ports: ports.map((port) => ({ name: port.name, port: port.targetPort, protocol: port.protocol })),
    });
  }
}
