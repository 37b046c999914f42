/** What the conversions need to know of the mesh; constant while the process lives. */
export interface MeshSettings {
  readonly clusterId: string;
  readonly trustDomain: string;
  /** DNS suffix of services. */
  readonly clusterDomain: string;
  /** Policies here apply to the whole mesh; our own objects live here. */
  readonly rootNamespace: string;
  /** Send policies that are annotated for a dry run (agents older than ztunnel 1.29 would enforce them). */
  readonly dryRunPolicies: boolean;
  /** Kubernetes Services select WorkloadEntries too. */
  readonly servicesSelectWorkloadEntries: boolean;
  /** GatewayClasses whose Gateways are waypoints of ours, with the controller's name of each. */
  readonly waypointClasses: ReadonlyMap<string, string>;
  /** Workloads behind a waypoint take connections from it alone, unless other policies allow more. */
  readonly autoAllowWaypoint: boolean;
}
