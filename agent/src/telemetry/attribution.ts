/**
 * Who talked to whom: workloads, service and identities of a connection record. Remembered per kind of connection, as
 * thousands a second differ only in ports.
 */
import { networkAddressKey } from "#lib/address.ts";
import type { LocalPod, LocalPods } from "../enroll/local-pods.ts";
import type { ConnectionRecord } from "../native.ts";
import { targetPort } from "../route/compile.ts";
import type { MeshView } from "../state/mesh-state.ts";
import { hostKey, type Service, type Workload } from "../state/model.ts";
import { type BaggageFacts, parseBaggage } from "./baggage.ts";
import { Series, type TcpLabels } from "./series.ts";

/** What is known of one end. */
export interface PeerFacts {
  readonly name: string | undefined;
  readonly workload: string | undefined;
  readonly namespace: string | undefined;
  readonly canonicalName: string | undefined;
  readonly canonicalRevision: string | undefined;
  readonly cluster: string | undefined;
  readonly region: string | undefined;
  readonly zone: string | undefined;
  readonly identity: string | undefined;
}

export interface Attribution {
  readonly outbound: boolean;
  readonly source: PeerFacts;
  readonly destination: PeerFacts;
  readonly service: Service | undefined;
  readonly series: Series;
  /** What the plain access line says of each end. */
  readonly sourceText: string;
  readonly destinationText: string;
}

/** Kinds of connections that are remembered, and label sets that are told apart; beyond, ends count as unknown. */
const MAX_REMEMBERED = 16_384;
const MAX_SERIES = 20_000;
const NOBODY: BaggageFacts = {};

export class Attributor {
  readonly #view: MeshView;
  readonly #pods: LocalPods;
  readonly #network: string;
  readonly #remembered = new Map<string, Attribution>();
  readonly #series = new Map<string, Series>();
  /** Pods that left: records of their last connections come after them. */
  readonly #departed = new Map<number, LocalPod>();

  constructor(view: MeshView, pods: LocalPods, network: string) {
    this.#view = view;
    this.#pods = pods;
    this.#network = network;
  }

  series(): IterableIterator<Series> {
    return this.#series.values();
  }

  /** The mesh changed: what was derived from it may be another now. */
  forget(): void {
    this.#remembered.clear();
  }

  podLeft(pod: LocalPod): void {
    this.#departed.set(pod.id, pod);
    for (const id of this.#departed.keys()) {
      if (this.#departed.size <= MAX_DEPARTED) break;
      this.#departed.delete(id);
    }
  }

  attribute(record: ConnectionRecord): Attribution {
    const key = cacheKey(record);
    const known = this.#remembered.get(key);
    if (known !== undefined) return known;
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    const made = record.path === "outbound" ? this.#outbound(record) : this.#inbound(record);
    this.#remembered.set(key, made);
    return made;
  }

  #outbound(record: ConnectionRecord): Attribution {
    const pod = this.#pod(record.pod);
    const own = pod === undefined ? undefined : this.#pods.find(pod);
    const mutual = record.peerIdentity !== undefined;
    const service = this.#view.services.byAddress(this.#network, record.destination.ip, pod?.namespace ?? "");
    const destination =
      record.endpointKey === undefined
        ? service === undefined
          ? this.#byIp(record.destination.ip)
          : undefined
        : this.#view.workloads.byKey(record.endpointKey);
    return this.#make(
      true,
      facts(own, podFacts(pod), mutual ? pod?.identity : undefined),
      facts(destination, NOBODY, record.peerIdentity),
      service,
      mutual,
    );
  }

  #inbound(record: ConnectionRecord): Attribution {
    const pod = this.#pod(record.pod);
    const own = pod === undefined ? undefined : this.#pods.find(pod);
    const mutual = record.peerIdentity !== undefined;
    const source = this.#byIp(record.source.ip);
    const baggage = source === undefined && record.baggage !== undefined ? parseBaggage(record.baggage) : NOBODY;
    const host = forwardedHost(record.forwarded);
    return this.#make(
      false,
      facts(source, baggage, record.peerIdentity),
      facts(own, podFacts(pod), mutual ? pod?.identity : undefined),
      own === undefined ? undefined : this.#inboundService(own, record.destination.port, host),
      mutual,
    );
  }

  /** The service that the peer says it addressed, when it is one of ours; else one that leads to the port. */
  #inboundService(own: Workload, port: number, host: string | undefined): Service | undefined {
    let guess: Service | undefined;
    for (const membership of own.services) {
      const service = this.#view.services.get(membership.service);
      if (service === undefined) continue;
      if (service.hostname === host) return service;
      for (const [servicePort, declared] of service.ports) {
        if (targetPort(own, service.key, servicePort, declared) === port) guess ??= service;
      }
    }
    if (host === undefined) return guess;
    return this.#view.services.get(hostKey(own.namespace, host)) ?? guess;
  }

  #byIp(ip: string): Workload | undefined {
    return this.#view.workloads.byAddress(networkAddressKey(this.#network, ip));
  }

  #pod(id: number): LocalPod | undefined {
    return this.#pods.get(id) ?? this.#departed.get(id);
  }

  #make(
    outbound: boolean,
    source: PeerFacts,
    destination: PeerFacts,
    service: Service | undefined,
    mutual: boolean,
  ): Attribution {
    const labels = tcpLabels(outbound, source, destination, service, mutual);
    return {
      outbound,
      source,
      destination,
      service,
      series: this.#seriesOf(labels),
      sourceText: peerText("src", source),
      destinationText: peerText("dst", destination),
    };
  }

  #seriesOf(labels: TcpLabels): Series {
    const key = Object.values(labels).join("\u0000");
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size >= MAX_SERIES) {
      return this.#seriesOf(tcpLabels(labels.reporter === "source", UNKNOWN, UNKNOWN, undefined, false));
    }
    const made = new Series(labels);
    this.#series.set(key, made);
    return made;
  }
}

const MAX_DEPARTED = 1024;

function cacheKey(record: ConnectionRecord): string {
  const peer = record.peerIdentity ?? "";
  if (record.path === "outbound") {
    return `o|${record.pod}|${record.endpointKey ?? ""}|${record.destination.ip}|${peer}`;
  }
  const host = forwardedHost(record.forwarded) ?? "";
  return `i|${record.pod}|${record.source.ip}|${record.destination.port}|${peer}|${host}|${record.baggage ?? ""}`;
}

/** `host=` of a `forwarded` header; the rest of it is not trusted for anything. */
export function forwardedHost(forwarded: string | undefined): string | undefined {
  if (forwarded === undefined) return undefined;
  const at = forwarded.indexOf("host=");
  if (at < 0) return undefined;
  const end = forwarded.indexOf(";", at);
  return forwarded.slice(at + 5, end < 0 ? undefined : end).replace(/^"|"$/g, "");
}

function facts(workload: Workload | undefined, other: BaggageFacts, identity: string | undefined): PeerFacts {
  if (workload === undefined) {
    return {
      name: other.name,
      workload: other.workload,
      namespace: other.namespace,
      canonicalName: other.canonicalName,
      canonicalRevision: other.canonicalRevision,
      cluster: other.cluster,
      region: other.region,
      zone: other.zone,
      identity,
    };
  }
  return {
    name: workload.name,
    workload: workload.workloadName,
    namespace: workload.namespace,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    cluster: workload.clusterId,
    region: workload.locality.region,
    zone: workload.locality.zone,
    identity,
  };
}

/** All that is known of a pod whose workload has left the mesh. */
function podFacts(pod: LocalPod | undefined): BaggageFacts {
  return pod === undefined ? NOBODY : { name: pod.name, namespace: pod.namespace };
}

function peerText(prefix: string, peer: PeerFacts): string {
  let text = "";
  if (peer.name !== undefined) text += ` ${prefix}.workload=${JSON.stringify(peer.name)}`;
  if (peer.namespace !== undefined) text += ` ${prefix}.namespace=${JSON.stringify(peer.namespace)}`;
  if (peer.identity !== undefined) text += ` ${prefix}.identity=${JSON.stringify(peer.identity)}`;
  if (peer.cluster !== undefined) text += ` ${prefix}.cluster=${JSON.stringify(peer.cluster)}`;
  return text;
}

const UNKNOWN: PeerFacts = facts(undefined, NOBODY, undefined);

function tcpLabels(
  outbound: boolean,
  source: PeerFacts,
  destination: PeerFacts,
  service: Service | undefined,
  mutual: boolean,
): TcpLabels {
  return {
    reporter: outbound ? "source" : "destination",
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
    connection_security_policy: mutual ? "mutual_tls" : "unknown",
    source_region: source.region || "unknown",
    source_zone: source.zone || "unknown",
    destination_region: destination.region || "unknown",
    destination_zone: destination.zone || "unknown",
  };
}
