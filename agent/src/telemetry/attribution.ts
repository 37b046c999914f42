/**
 * Who talked to whom: workloads, service and identities of a connection record. Remembered per kind of connection, as
 * thousands a second differ only in ports.
 */
import { networkAddressKey } from "#lib/address.ts";
import type { LocalPods } from "../enroll/local-pods.ts";
import type { ConnectionRecord } from "../native.ts";
import { targetPort } from "../route/compile.ts";
import type { MeshView } from "../state/mesh-state.ts";
import { hostKey, type Service, type Workload } from "../state/model.ts";
import { parseBaggage } from "./baggage.ts";
import { NOBODY, type PeerFacts, peerFacts, peerText, podFacts } from "./peer-facts.ts";
import { PodMemory } from "./pod-memory.ts";
import type { Series } from "./series.ts";
import { SeriesBook } from "./series-book.ts";

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

/** Kinds of connections that are remembered. */
const MAX_REMEMBERED = 16_384;

export class Attributor {
  readonly #view: MeshView;
  readonly #pods: LocalPods;
  readonly #network: string;
  readonly #remembered = new Map<string, Attribution>();
  /** Shared with whoever else counts connections. */
  readonly series = new SeriesBook();
  readonly memory: PodMemory;

  constructor(view: MeshView, pods: LocalPods, network: string) {
    this.#view = view;
    this.#pods = pods;
    this.#network = network;
    this.memory = new PodMemory(pods);
  }

  /** The mesh changed: what was derived from it may be another now. */
  forget(): void {
    this.#remembered.clear();
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
    const pod = this.memory.get(record.pod);
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
      peerFacts(own, podFacts(pod), mutual ? pod?.identity : undefined),
      peerFacts(destination, NOBODY, record.peerIdentity),
      service,
      mutual,
    );
  }

  #inbound(record: ConnectionRecord): Attribution {
    const pod = this.memory.get(record.pod);
    const own = pod === undefined ? undefined : this.#pods.find(pod);
    const mutual = record.peerIdentity !== undefined;
    const source = this.#byIp(record.source.ip);
    const baggage = source === undefined && record.baggage !== undefined ? parseBaggage(record.baggage) : NOBODY;
    const host = forwardedHost(record.forwarded);
    return this.#make(
      false,
      peerFacts(source, baggage, record.peerIdentity),
      peerFacts(own, podFacts(pod), mutual ? pod?.identity : undefined),
      own === undefined ? undefined : inboundService(this.#view, own, record.destination.port, host),
      mutual,
    );
  }

  #byIp(ip: string): Workload | undefined {
    return this.#view.workloads.byAddress(networkAddressKey(this.#network, ip));
  }

  #make(
    outbound: boolean,
    source: PeerFacts,
    destination: PeerFacts,
    service: Service | undefined,
    mutual: boolean,
  ): Attribution {
    return {
      outbound,
      source,
      destination,
      service,
      series: this.series.get({
        reporter: outbound ? "source" : "destination",
        source,
        destination,
        service,
        security: mutual ? "mutual_tls" : "unknown",
      }),
      sourceText: peerText("src", source),
      destinationText: peerText("dst", destination),
    };
  }
}

/** The service that the peer says it addressed, when it is one of ours; else one that leads to the port. */
export function inboundService(
  view: MeshView,
  own: Workload,
  port: number,
  host: string | undefined,
): Service | undefined {
  let guess: Service | undefined;
  for (const membership of own.services) {
    const service = view.services.get(membership.service);
    if (service === undefined) continue;
    if (service.hostname === host) return service;
    for (const [servicePort, declared] of service.ports) {
      if (targetPort(own, service.key, servicePort, declared) === port) guess ??= service;
    }
  }
  if (host === undefined) return guess;
  return view.services.get(hostKey(own.namespace, host)) ?? guess;
}

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
