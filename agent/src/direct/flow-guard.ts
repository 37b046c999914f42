/**
 * Ends connections that BPF handles alone and that policies no longer allow; those that still are allowed are not
 * touched. Plaintext into a pod counts as what it is: nobody has proved who the peer is.
 */
import type { LocalPod, LocalPods } from "../enroll/local-pods.ts";
import type { BpfPlane, DirectConnection, NetnsCookie } from "../native.ts";
import { type DirectRecord, EventCursor } from "./event-decoder.ts";
import type { Judge, Judgement } from "./judge.ts";

/** Ends whose records are on their way. Far more than end in one change; beyond it a record names no policy. */
const MAX_REMEMBERED = 16_384;

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
    const open: DirectRecord[] = [];
    const cursor = new EventCursor(this.#options.plane.directConnections());
    while (cursor.next()) {
      if (cursor.path === "plain-out" || !destinations.has(cursor.destinationPod)) continue;
      const record = cursor.record();
      if (record !== undefined) open.push(record);
    }
    this.checkThese(open);
  }

  /** Looks at these connections, which were open a moment ago. */
  checkThese(open: readonly DirectRecord[]): void {
    const judgements = new Map<string, Judgement | undefined>();
    const ending: DirectConnection[] = [];
    for (const record of open) {
      const { path, sourcePod, destinationPod, source, destination } = record;
      // Connections between two pods differ in the ports of the initiator only.
      const kind = `${path}|${sourcePod}|${destinationPod}|${source.ip}|${destination.ip}|${destination.port}`;
      if (!judgements.has(kind)) judgements.set(kind, this.#judge(record));
      const judgement = judgements.get(kind);
      if (judgement === undefined || judgement.allowed) continue;
      this.#remember(record, judgement.policy);
      ending.push({ path, sourcePod, destinationPod, source, destination });
    }
    if (ending.length > 0) this.#count += this.#options.plane.endDirect(ending);
  }

  /** The policy for which a connection was ended, once. */
  takeReason(record: DirectRecord): string | undefined {
    if (this.#ended.size === 0) return undefined;
    const id = endsOf(record);
    const policy = this.#ended.get(id);
    this.#ended.delete(id);
    return policy;
  }

  /** Undefined: the destination is not ours to judge for any more. */
  #judge({ path, sourcePod, destinationPod, source, destination }: DirectRecord): Judgement | undefined {
    const { pods, podOf, judge } = this.#options;
    const pod = pods.byCookie(destinationPod);
    if (pod === undefined || path === "plain-out") return undefined;
    // Of a source that left before this process began nobody can say who it was.
    const identity = path === "direct" ? podOf(sourcePod)?.identity : undefined;
    return judge.connection(pod, {
      ...(identity === undefined ? {} : { identity }),
      sourceIp: source.ip,
      destinationIp: destination.ip,
      port: destination.port,
    });
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
