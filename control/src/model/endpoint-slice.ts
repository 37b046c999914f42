/** EndpointSlices that somebody made by hand, or for a Service without a selector. */
import { parseIp } from "#lib/address.ts";
import type { EndpointSlice } from "#lib/kube/types.ts";
import { endpointSliceUid } from "#lib/xds/types.ts";
import type { EndpointFacts } from "./endpoint.ts";
import { type Meta, metaOf, NO_LABELS } from "./meta.ts";

const SERVICE_LABEL = "kubernetes.io/service-name";
const MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by";
/** Mirrors what Service selectors say, which the model works out by itself. */
const SELECTOR_CONTROLLER = "endpointslice-controller.k8s.io";

export interface EndpointSliceFacts extends Meta {
  /** Name of the Service, in the slice's namespace. */
  readonly service: string;
  /** Port of the endpoints by the name of the service's port. */
  readonly ports: ReadonlyMap<string, number>;
  /** Keys of pods that are endpoints; they count when the Service has no selector. */
  readonly pods: readonly string[];
  readonly endpoints: readonly EndpointFacts[];
}

/** Undefined for slices that say nothing new. */
export function endpointSliceFacts(slice: EndpointSlice, clusterId: string): EndpointSliceFacts | undefined {
  const labels = slice.metadata.labels ?? NO_LABELS;
  const service = labels[SERVICE_LABEL];
  if (!service || slice.addressType === "FQDN" || labels[MANAGED_BY_LABEL] === SELECTOR_CONTROLLER) return undefined;
  const meta = metaOf(slice);
  const ports = new Map<string, number>();
  for (const { name = "", port, protocol = "TCP" } of slice.ports ?? []) {
    if (port !== undefined && protocol === "TCP") ports.set(name, port);
  }
  const pods = new Set<string>();
  const endpoints = new Map<string, EndpointFacts>();
  for (const { addresses, conditions, targetRef } of slice.endpoints ?? []) {
    if (targetRef?.kind === "Pod") {
      pods.add(`${targetRef.namespace ?? meta.namespace}/${targetRef.name}`);
      continue;
    }
    for (const text of addresses) {
      const ip = parseIp(text);
      if (ip === undefined) continue;
      endpoints.set(ip, {
        ...meta,
        workloadUid: endpointSliceUid(clusterId, meta.namespace, meta.name, ip),
        labels: NO_LABELS,
        ips: [ip],
        hostname: "",
        serviceAccount: "",
        ports,
        healthy: conditions?.ready !== false,
        hostNetwork: true,
        tunnel: "none",
      });
    }
  }
  return { ...meta, service, ports, pods: [...pods], endpoints: [...endpoints.values()] };
}
