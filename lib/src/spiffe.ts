/** SPIFFE ids of Kubernetes workloads: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. */

export interface SpiffeId {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

export const DEFAULT_TRUST_DOMAIN = "cluster.local";

const PATTERN = /^spiffe:\/\/([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/;

/** Undefined when `uri` is not exactly of that form. */
export function parseSpiffeId(uri: string): SpiffeId | undefined {
  const match = PATTERN.exec(uri);
  if (match === null) return undefined;
  const [, trustDomain = "", namespace = "", serviceAccount = ""] = match;
  return { trustDomain, namespace, serviceAccount };
}

export function formatSpiffeId(id: SpiffeId): string {
  return `spiffe://${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`;
}
