/** What the control plane says of the workload that an endpoint is. Empty: not known. */
export interface WorkloadFacts {
  readonly name: string;
  readonly namespace: string;
  readonly canonicalService: string;
  readonly canonicalRevision: string;
  readonly clusterId: string;
  readonly principal: string;
  readonly app: string;
  readonly version: string;
  readonly node: string;
}
