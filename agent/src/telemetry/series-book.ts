/** The sums of all label sets of the standard TCP metrics, bounded. */
import type { Service } from "../state/model.ts";
import { NOBODY, type PeerFacts, peerFacts } from "./peer-facts.ts";
import { Series, type TcpLabels } from "./series.ts";

/** Label sets that are told apart; beyond, ends count as unknown. */
const MAX_SERIES = 20_000;

/** How the ends know of each other: by certificates, by the kernel that has both, or not. */
export type SecurityPolicy = "mutual_tls" | "kernel_direct" | "unknown";

export interface SeriesFacts {
  readonly reporter: "source" | "destination";
  readonly source: PeerFacts;
  readonly destination: PeerFacts;
  readonly service: Service | undefined;
  readonly security: SecurityPolicy;
}

export class SeriesBook {
  readonly #series = new Map<string, Series>();

  values(): IterableIterator<Series> {
    return this.#series.values();
  }

  get(facts: SeriesFacts): Series {
    const labels = tcpLabels(facts);
    const key = Object.values(labels).join("\u0000");
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size >= MAX_SERIES && facts.source !== UNKNOWN) {
      return this.get({ ...facts, source: UNKNOWN, destination: UNKNOWN, service: undefined, security: "unknown" });
    }
    const made = new Series(labels);
    this.#series.set(key, made);
    return made;
  }
}

const UNKNOWN: PeerFacts = peerFacts(undefined, NOBODY, undefined);

function tcpLabels({ reporter, source, destination, service, security }: SeriesFacts): TcpLabels {
  return {
    reporter,
    source_workload: source.workload || "unknown",
    source_canonical_service: source.canonicalName || "unknown",
    source_canonical_revision: source.canonicalRevision || "unknown",
    source_workload_namespace: source.namespace || "unknown",
    source_principal: source.identity || "unknown",
    source_app: source.canonicalName || "unknown",
    source_version: source.canonicalRevision || "unknown",
    source_cluster: source.cluster || "unknown",
    destination_service: service?.hostname || "unknown",
    destination_service_namespace: service?.namespace || "unknown",
    destination_service_name: service?.name || "unknown",
    destination_workload: destination.workload || "unknown",
    destination_canonical_service: destination.canonicalName || "unknown",
    destination_canonical_revision: destination.canonicalRevision || "unknown",
    destination_workload_namespace: destination.namespace || "unknown",
    destination_principal: destination.identity || "unknown",
    destination_app: destination.canonicalName || "unknown",
    destination_version: destination.canonicalRevision || "unknown",
    destination_cluster: destination.cluster || "unknown",
    request_protocol: "tcp",
    response_flags: "-",
    connection_security_policy: security,
    source_region: source.region || "unknown",
    source_zone: source.zone || "unknown",
    destination_region: destination.region || "unknown",
    destination_zone: destination.zone || "unknown",
  };
}
