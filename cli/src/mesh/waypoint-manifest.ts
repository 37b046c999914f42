/** The Gateway that is a waypoint. */
import type { GatewayObject } from "#lib/kube/types.ts";

export const WAYPOINT_CLASS = "weft-waypoint";
/** Classes whose Gateways are waypoints; Istio's is taken, too. */
export const WAYPOINT_CLASSES: readonly string[] = [WAYPOINT_CLASS, "istio-waypoint"];
export const WAYPOINT_FOR = "istio.io/waypoint-for";
export const USE_WAYPOINT = "istio.io/use-waypoint";
export const REVISION = "istio.io/rev";
export const TRAFFIC_TYPES = ["service", "workload", "all", "none"] as const;
export const DEFAULT_NAME = "waypoint";

const HBONE_PORT = 15_008;

export interface WaypointWish {
  readonly namespace: string;
  readonly name: string;
  readonly trafficType: string | undefined;
  readonly revision: string | undefined;
  readonly className: string;
}

export function waypointManifest({ namespace, name, trafficType, revision, className }: WaypointWish): GatewayObject {
  const labels = {
    ...(trafficType === undefined ? {} : { [WAYPOINT_FOR]: trafficType }),
    ...(revision === undefined ? {} : { [REVISION]: revision }),
  };
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { name, namespace, ...(Object.keys(labels).length === 0 ? {} : { labels }) },
    spec: {
      gatewayClassName: className,
      listeners: [{ name: "mesh", port: HBONE_PORT, protocol: "HBONE" }],
    },
  };
}

export interface WaypointRow {
  readonly namespace: string;
  readonly name: string;
  readonly revision: string;
  readonly trafficType: string;
  readonly programmed: string;
  readonly addresses: readonly string[];
}

export function isWaypoint({ spec }: GatewayObject): boolean {
  return WAYPOINT_CLASSES.includes((spec as { gatewayClassName?: string } | undefined)?.gatewayClassName ?? "");
}

export function waypointRow({ metadata, status }: GatewayObject): WaypointRow {
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    revision: metadata.labels?.[REVISION] ?? "default",
    trafficType: metadata.labels?.[WAYPOINT_FOR] ?? "service",
    programmed: status?.conditions?.find(({ type }) => type === "Programmed")?.status ?? "Unknown",
    addresses: (status?.addresses ?? []).map(({ value = "" }) => value),
  };
}
