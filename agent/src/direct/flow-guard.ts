/**
 * Ends connections that BPF handles alone and that policies no longer allow; those that still are allowed are not
 * touched. Plaintext into a pod counts as what it is: nobody has proved who the peer is.
 */
import type { LocalPod, LocalPods } from "../enroll/local-pods.ts";
import type { BpfPlane, DirectConnection, NetnsCookie } from "../native.ts";
import { type DirectRecord, EventCursor } from "./event-decoder.ts";
import type { Judge } from "./judge.ts";

/** A connection that must end, and for which policy. */
interface Condemned {
  readonly record: DirectRecord;
  readonly policy: string | undefined;
}

/** Ends whose records are on their way. Far more than end in one change; beyond it a record names no policy. */
const MAX_REMEMBERED = 16_384;

/** The kernel's list may miss one connection for each that closes while it is made; what was to end is looked for again. */
const MAX_LOOKS = 4;

export interface FlowGuardOptions {
  readonly plane: Pick<BpfPlane, "directConnections" | "endDirect">;
  readonly pods: LocalPods;
  /** A pod of this node, also one that has left it not long ago. */
  readonly podOf: (cookie: NetnsCookie) => LocalPod | undefined;
  readonly judge: Judge;
}

export class FlowGuard {
  readonly #options: FlowGuardOptions;
  /** Policies that have ended connections, by its two ends. */
  readonly #ended = new Map<string, string>();
  #count = 0;

  constructor(options: FlowGuardOptions) {
    this.#options = options;
  }

  /** Connections that were ended since the start. */
  get endedCount(): number {
    return this.#count;
  }

  /** Looks at the open connections to these pods. */
  check(destinations: ReadonlySet<NetnsCookie>): void {
    if (destinations.size === 0) return;
    for (let look = 0; look < MAX_LOOKS && this.#look(destinations); look++);
  }

  /** Whether there was something to end. */
  #look(destinations: ReadonlySet<NetnsCookie>): boolean {
    const ending: DirectRecord[] = [];
    // Thousands are of few kinds, which differ in the initiator's port; one of each is judged.
    const kinds = new Map<string, Condemned | undefined>();
    const event = new EventCursor(this.#options.plane.directConnections());
    while (event.next()) {
      const kind = event.kindOfConnection();
      if (!kinds.has(kind)) kinds.set(kind, destinations.has(event.destinationPod) ? this.#judge(event) : undefined);
      const condemned = kinds.get(kind);
      if (condemned === undefined) continue;
      const { record, policy } = condemned;
      const one = { ...record, source: { ip: record.source.ip, port: event.sourcePort } };
      this.#remember(one, policy);
      ending.push(one);
    }
    this.#end(ending);
    return ending.length > 0;
  }

  /** Looks at the connection that the cursor is at, which was open a moment ago. */
  checkOne(event: EventCursor): void {
    const condemned = this.#judge(event);
    if (condemned === undefined) return;
    this.#remember(condemned.record, condemned.policy);
    this.#end([condemned.record]);
  }

  /** The policy for which a connection was ended, once. */
  takeReason(record: DirectRecord): string | undefined {
    if (this.#ended.size === 0) return undefined;
    const id = endsOf(record);
    const policy = this.#ended.get(id);
    this.#ended.delete(id);
    return policy;
  }

  /** Undefined: it may stay, or its destination is not ours to judge for any more. */
  #judge(event: EventCursor): Condemned | undefined {
    const record = event.record();
    if (record === undefined || record.path === "plain-out") return undefined;
    const { path, sourcePod, destinationPod, source, destination } = record;
    const pod = this.#options.pods.byCookie(destinationPod);
    if (pod === undefined) return undefined;
    // Of a source that left before this process began nobody can say who it was.
    const identity = path === "direct" ? this.#options.podOf(sourcePod)?.identity : undefined;
    const judgement = this.#options.judge.connection(pod, {
      ...(identity === undefined ? {} : { identity }),
      sourceIp: source.ip,
      destinationIp: destination.ip,
      port: destination.port,
    });
    return judgement.allowed ? undefined : { record, policy: judgement.policy };
  }

  #end(connections: readonly DirectRecord[]): void {
    if (connections.length > 0) this.#count += this.#options.plane.endDirect(connections);
  }

  #remember(record: DirectRecord, policy: string | undefined): void {
    for (const oldest of this.#ended.keys()) {
      if (this.#ended.size < MAX_REMEMBERED) break;
      this.#ended.delete(oldest);
    }
    this.#ended.set(endsOf(record), policy ?? "");
  }
}

function endsOf({ source, destination }: DirectConnection): string {
  return `${source.ip}|${source.port}|${destination.ip}|${destination.port}`;
}
