/** Who the client is, by what its agent says in `baggage` of the tunnel. */

export interface PeerFacts {
  readonly workload: string;
  readonly namespace: string;
  readonly canonicalService: string;
  readonly canonicalRevision: string;
  readonly app: string;
  readonly version: string;
  readonly cluster: string;
}

/** `k8s.pod.name` and so on: agents put the workload's name there, whatever kind they call it. */
const WORKLOAD_KEY = /^k8s\.(pod|deployment|job|cronjob|statefulset|daemonset|replicaset)\.name$/;
const MAX_KNOWN = 4096;
const known = new Map<string, PeerFacts>();

export function peerOf(baggage: string): PeerFacts {
  let peer = known.get(baggage);
  if (peer === undefined) {
    peer = parse(baggage);
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(baggage, peer);
  }
  return peer;
}

function parse(baggage: string): PeerFacts {
  const values = new Map<string, string>();
  let workload = "";
  for (const member of baggage.split(",")) {
    const [pair = ""] = member.split(";", 1);
    const equals = pair.indexOf("=");
    if (equals === -1) continue;
    const key = pair.slice(0, equals).trim();
    const value = decoded(pair.slice(equals + 1).trim());
    values.set(key, value);
    if (WORKLOAD_KEY.test(key)) workload = value;
  }
  const canonicalService = values.get("service.name") ?? "";
  const canonicalRevision = values.get("service.version") ?? "";
  return {
    workload,
    namespace: values.get("k8s.namespace.name") ?? "",
    canonicalService,
    canonicalRevision,
    app: values.get("app.name") ?? canonicalService,
    version: values.get("app.version") ?? canonicalRevision,
    cluster: values.get("k8s.cluster.name") ?? "",
  };
}

function decoded(value: string): string {
  if (!value.includes("%")) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
