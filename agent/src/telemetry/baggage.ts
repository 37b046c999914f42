/** The `baggage` header of a tunnel's peer: what it says of itself. Unverified; telemetry only. */

export interface BaggageFacts {
  readonly name?: string;
  readonly workload?: string;
  readonly namespace?: string;
  readonly canonicalName?: string;
  readonly canonicalRevision?: string;
  readonly cluster?: string;
  readonly region?: string;
  readonly zone?: string;
}

/** A map, not an object: keys come from a peer, and every object has a few by birth. */
const FIELDS: ReadonlyMap<string, keyof BaggageFacts> = new Map([
  ["k8s.cluster.name", "cluster"],
  ["k8s.namespace.name", "namespace"],
  ["k8s.deployment.name", "workload"],
  ["k8s.cronjob.name", "workload"],
  ["k8s.pod.name", "workload"],
  ["k8s.job.name", "workload"],
  ["service.name", "canonicalName"],
  ["service.version", "canonicalRevision"],
  ["cloud.region", "region"],
  ["cloud.availability_zone", "zone"],
]);
/** Values go into metric labels, so a peer may not choose long ones. */
const MAX_VALUE = 253;

/** Unknown keys and malformed members are passed over. */
export function parseBaggage(text: string): BaggageFacts {
  const found: { -readonly [Field in keyof BaggageFacts]: string } = {};
  for (const member of text.split(",")) {
    const equals = member.indexOf("=");
    const field = FIELDS.get(member.slice(0, Math.max(0, equals)).trim());
    const value = member.slice(equals + 1).trim();
    if (field !== undefined && value !== "" && value.length <= MAX_VALUE) found[field] = value;
  }
  return found;
}
