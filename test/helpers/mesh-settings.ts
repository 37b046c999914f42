/** A mesh as it is by default. */
import { MESH_CONTROLLER } from "../../control/src/l7/gateway-api/controller.ts";
import type { MeshSettings } from "../../control/src/model/settings.ts";

export const MESH_SETTINGS: MeshSettings = {
  clusterId: "Kubernetes",
  trustDomain: "cluster.local",
  clusterDomain: "cluster.local",
  rootNamespace: "istio-system",
  dryRunPolicies: false,
  servicesSelectWorkloadEntries: true,
  waypointClasses: new Map([["weft-waypoint", MESH_CONTROLLER]]),
  autoAllowWaypoint: false,
};
