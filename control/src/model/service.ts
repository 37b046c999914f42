/** Kubernetes Services. */
import { parseIp } from "#lib/address.ts";
import type { Service } from "#lib/kube/types.ts";
import { appProtocolOf } from "./app-protocol.ts";
import { metaOf, NO_LABELS } from "./meta.ts";
import { ipFamiliesOf, type ServiceDefinition, TRAFFIC_DISTRIBUTION_ANNOTATION } from "./service-definition.ts";
import { waypointWishes } from "./waypoints.ts";

/** Undefined for an ExternalName: it is an alias in DNS and has no endpoints. */
export function serviceDefinition(service: Service, clusterDomain: string): ServiceDefinition | undefined {
  const spec = service.spec ?? {};
  if (spec.type === "ExternalName") return undefined;
  const meta = metaOf(service);
  const ips = spec.clusterIPs ?? [spec.clusterIP ?? "None"];
  const selector = spec.selector ?? {};
  const { labels = NO_LABELS, annotations } = service.metadata;
  // The annotation is older than the field.
  const wish = spec.trafficDistribution || annotations?.[TRAFFIC_DISTRIBUTION_ANNOTATION];
  return {
    ...meta,
    source: "Service",
    hostname: `${meta.name}.${meta.namespace}.svc.${clusterDomain}`,
    addresses: ips
      .map(parseIp)
      .filter((ip) => ip !== undefined)
      .map((ip) => ({ ip })),
    // Only TCP is carried; UDP of a port with the same number must not shadow it.
    ports: (spec.ports ?? [])
      .filter(({ protocol = "TCP" }) => protocol === "TCP")
      .map(({ port, name = "", targetPort = port, appProtocol }) => ({
        number: port,
        name,
        target: targetPort,
        appProtocol: appProtocolOf(appProtocol, name),
      })),
    ...(Object.keys(selector).length === 0 ? {} : { selector }),
    ipFamilies: ipFamiliesOf(spec.ipFamilies),
    subjectAltNames: [],
    nodeLocal: spec.internalTrafficPolicy === "Local",
    passthrough: false,
    allowUnhealthy: spec.publishNotReadyAddresses === true,
    ...(wish ? { trafficDistribution: wish } : {}),
    ...waypointWishes(labels, annotations, meta.namespace),
  };
}
