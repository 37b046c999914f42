/** Who talked to whom in connections that BPF handled alone. Remembered per kind of connection, as `EventCursor` tells them apart. */
import { joinHostPort, networkAddressKey } from "#lib/address.ts";
import type { LogFields } from "#lib/log.ts";
import type { DirectRecord, EventCursor } from "../direct/event-decoder.ts";
import type { LocalPod, LocalPods } from "../enroll/local-pods.ts";
import type { NetnsCookie } from "../native.ts";
import type { MeshView } from "../state/mesh-state.ts";
import type { Service, Workload } from "../state/model.ts";
import { inboundService } from "./attribution.ts";
import { NOBODY, type PeerFacts, peerFacts, peerText, podFacts } from "./peer-facts.ts";
import type { PodMemory } from "./pod-memory.ts";
import type { Series } from "./series.ts";
import type { SeriesBook } from "./series-book.ts";

/** Directions as the access log names them. */
export type Direction = "direct" | "outbound" | "inbound";

export interface DirectAttribution {
  readonly direction: Direction;
  readonly source: PeerFacts;
  readonly destination: PeerFacts;
  readonly service: Service | undefined;
  /** Of each reporter: both ends of a direct connection, the local end of a plain one. */
  readonly series: readonly Series[];
  /** The access line before the initiator's port, and after it as far as it is the same for all; plain and as JSON. */
  readonly plainHead: string;
  readonly plainMiddle: string;
  readonly jsonHead: string;
  readonly jsonMiddle: string;
}

const MAX_REMEMBERED = 16_384;

export interface DirectAttributorOptions {
  readonly view: MeshView;
  readonly pods: LocalPods;
  readonly network: string;
  readonly memory: PodMemory;
  readonly series: SeriesBook;
}

export class DirectAttributor {
  readonly #options: DirectAttributorOptions;
  readonly #remembered = new Map<string, DirectAttribution>();

  constructor(options: DirectAttributorOptions) {
    this.#options = options;
  }

  /** The mesh or this node's pods changed. */
  forget(): void {
    this.#remembered.clear();
  }

  /** Undefined for a path that this agent does not know. */
  attribute(event: EventCursor): DirectAttribution | undefined {
    const key = event.kindOfConnection();
    const known = this.#remembered.get(key);
    if (known !== undefined) return known;
    const record = event.record();
    if (record === undefined) return undefined;
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    const made = this.#make(record);
    this.#remembered.set(key, made);
    return made;
  }

  #make(record: DirectRecord): DirectAttribution {
    const ends = this.#ends(record);
    const { direction, source, destination, service } = ends;
    // `joinHostPort` ends with the port.
    const from = joinHostPort(record.source.ip, 0).slice(0, -1);
    const to = joinHostPort(record.destination.ip, record.destination.port);
    let plainMiddle = `${peerText("src", source)} dst.addr=${to}`;
    if (service !== undefined) plainMiddle += ` dst.service="${service.hostname}"`;
    plainMiddle += `${peerText("dst", destination)} direction="${direction}"`;
    const fields = jsonFields(to, ends);
    return {
      ...ends,
      plainHead: `src.addr=${from}`,
      plainMiddle,
      jsonHead: `"src.addr":"${from}`,
      // Goes on after the port, and is gone on with.
      jsonMiddle: `",${JSON.stringify(fields).slice(1, -1)}`,
    };
  }

  #ends(record: DirectRecord): Pick<DirectAttribution, "direction" | "source" | "destination" | "service" | "series"> {
    switch (record.path) {
      case "direct":
        return this.#direct(record);
      case "plain-out":
        return this.#plainOut(record);
      case "plain-in":
        return this.#plainIn(record);
    }
  }

  #direct({ sourcePod, destinationPod, asked, destination: to }: DirectRecord) {
    const [client, clientWorkload] = this.#local(sourcePod);
    const [server, serverWorkload] = this.#local(destinationPod);
    const source = peerFacts(clientWorkload, podFacts(client), client?.identity);
    const destination = peerFacts(serverWorkload, podFacts(server), server?.identity);
    const service = this.#serviceAt(asked.ip, client);
    const common = { source, destination, security: "kernel_direct" } as const;
    // The destination of a tunnel to a pod's own address would guess as well.
    const guess = service ?? (serverWorkload && inboundService(this.#options.view, serverWorkload, to.port, undefined));
    const series = [
      this.#options.series.get({ ...common, reporter: "source", service }),
      this.#options.series.get({ ...common, reporter: "destination", service: guess }),
    ];
    return { direction: "direct", source, destination, service, series } as const;
  }

  #plainOut({ sourcePod, asked, destination: to }: DirectRecord) {
    const [client, workload] = this.#local(sourcePod);
    const source = peerFacts(workload, podFacts(client), undefined);
    const destination = peerFacts(this.#byIp(to.ip), NOBODY, undefined);
    const service = this.#serviceAt(asked.ip, client);
    const facts = { reporter: "source", source, destination, service, security: "unknown" } as const;
    return { direction: "outbound", source, destination, service, series: [this.#options.series.get(facts)] } as const;
  }

  #plainIn({ destinationPod, source: from, destination: to }: DirectRecord) {
    const [server, workload] = this.#local(destinationPod);
    const source = peerFacts(this.#byIp(from.ip), NOBODY, undefined);
    const destination = peerFacts(workload, podFacts(server), undefined);
    const service = workload && inboundService(this.#options.view, workload, to.port, undefined);
    const facts = { reporter: "destination", source, destination, service, security: "unknown" } as const;
    return { direction: "inbound", source, destination, service, series: [this.#options.series.get(facts)] } as const;
  }

  /** A pod of this node. Of one that left before this process began nobody can say who it was. */
  #local(cookie: NetnsCookie): readonly [LocalPod | undefined, Workload | undefined] {
    const pod = this.#options.memory.byCookie(cookie);
    return [pod, pod === undefined ? undefined : this.#options.pods.find(pod)];
  }

  #serviceAt(ip: string, client: LocalPod | undefined): Service | undefined {
    return this.#options.view.services.byAddress(this.#options.network, ip, client?.namespace ?? "");
  }

  #byIp(ip: string): Workload | undefined {
    return this.#options.view.workloads.byAddress(networkAddressKey(this.#options.network, ip));
  }
}

/** What is the same for all connections of a kind. */
function jsonFields(
  to: string,
  {
    direction,
    source,
    destination,
    service,
  }: Pick<DirectAttribution, "direction" | "source" | "destination" | "service">,
): LogFields {
  return {
    "src.workload": source.name,
    "src.namespace": source.namespace,
    "src.identity": source.identity,
    "src.cluster": source.cluster,
    "dst.addr": to,
    "dst.service": service?.hostname,
    "dst.workload": destination.name,
    "dst.namespace": destination.namespace,
    "dst.identity": destination.identity,
    "dst.cluster": destination.cluster,
    direction,
    connection_security_policy: direction === "direct" ? "kernel_direct" : undefined,
  };
}
