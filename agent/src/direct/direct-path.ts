/**
 * The kernel-direct path as the agent sees it: everything about connections that BPF decides and handles by itself, put
 * together. What is told here reaches the maps before the call returns.
 */
import { errorText, type Logger, type LogRoot } from "#lib/log.ts";
import type { Reason } from "#lib/reasons.ts";
import type { LocalPod, LocalPods } from "../enroll/local-pods.ts";
import type { BpfPlane, Engine, NetnsCookie, PodId } from "../native.ts";
import type { PolicySync } from "../policy/policy-sync.ts";
import type { LocalSource } from "../route/compile.ts";
import type { RouteRequest } from "../route/route-book.ts";
import type { MeshState } from "../state/mesh-state.ts";
import type { Attributor } from "../telemetry/attribution.ts";
import { DirectAttributor } from "../telemetry/direct-attribution.ts";
import { DirectTelemetry } from "../telemetry/direct-telemetry.ts";
import { familyOf } from "./choice.ts";
import { DirectBook } from "./direct-book.ts";
import { DirectPort } from "./direct-port.ts";
import type { DirectRecord } from "./event-decoder.ts";
import { FlowGuard } from "./flow-guard.ts";
import { Judge } from "./judge.ts";
import { RareLog } from "./rare-log.ts";
import { Shortcuts } from "./shortcuts.ts";
import { VerdictBook } from "./verdict-book.ts";

export interface DirectPathOptions {
  readonly plane: BpfPlane;
  readonly engine: Pick<Engine, "evaluate">;
  readonly state: MeshState;
  readonly pods: LocalPods;
  readonly policies: PolicySync;
  readonly attributor: Attributor;
  readonly network: string;
  readonly log: LogRoot;
  /** Compiles routes as if connections had asked for them. */
  readonly compile: (requests: readonly RouteRequest[]) => void;
}

/** How long BPF may go on to let plaintext out and in when nobody watches what comes into the mesh, or gets policies. */
const PLAIN_FOR_MS = 60_000;
const PLAIN_RENEWED_MS = 15_000;
/** Records that came before the mesh was known wait for their names; four full rings. */
const MAX_HELD_BYTES = 4 << 20;

export class DirectPath {
  readonly telemetry: DirectTelemetry;
  readonly #shortcuts: Shortcuts;
  readonly #options: DirectPathOptions;
  readonly #log: Logger;
  readonly #rareLog: RareLog;
  readonly #off: string | undefined;
  readonly #port: DirectPort;
  readonly #verdicts: VerdictBook;
  readonly #book: DirectBook;
  readonly #guard: FlowGuard;
  readonly #attributor: DirectAttributor;
  #podsKnown = false;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #renewal: NodeJS.Timeout | undefined;
  #eventsLost: number;

  constructor(options: DirectPathOptions) {
    const { plane, engine, state, pods, policies, attributor, network, log } = options;
    this.#options = options;
    this.#log = log.logger("direct");
    this.#rareLog = new RareLog(this.#log);
    this.#off = plane.directOff();
    if (this.#off !== undefined) this.#log.warn("connections within the node go by the agent", { reason: this.#off });
    const judge = new Judge({
      evaluate: (pod, peer) => engine.evaluate(pod, peer),
      policiesKnown: (pod) => policies.known(pod),
      onFailure: (error) => this.#rareLog.warn("policies cannot be asked about a pod", error),
    });
    this.#port = new DirectPort(plane, this.#rareLog);
    this.#verdicts = new VerdictBook(judge);
    this.#book = new DirectBook({
      port: this.#port,
      plane,
      pods,
      verdicts: this.#verdicts,
      unrestricted: (pod) => this.#off === undefined && policies.unrestricted(pod),
    });
    this.#guard = new FlowGuard({ plane, pods, podOf: attributor.memory.byCookie, judge });
    const { memory, series } = attributor;
    this.#attributor = new DirectAttributor({ view: state, pods, network, memory, series });
    this.telemetry = new DirectTelemetry({
      attributor: this.#attributor,
      root: log,
      connections: () => plane.directConnections(),
      policyOf: (record, reason) => this.#policyOf(record, reason),
      onDoubtful: (event) => this.#guard.checkOne(event),
    });
    this.#shortcuts = new Shortcuts({ plane, pods, log: this.#log });
    this.#eventsLost = lostEvents(plane);
  }

  /** `RouteBook`'s word on what BPF may choose from; takes effect with the next call of `flush` or `settle`. */
  readonly setRoute: DirectBook["setRoute"] = (pod, destination, endpoints) =>
    this.#book.setRoute(pod, destination, endpoints);

  /** The pod as a source of connections that BPF may decide about; undefined while it is not captured. */
  readonly localSource = (id: PodId): LocalSource | undefined => {
    const { pods } = this.#options;
    const pod = pods.get(id);
    if (this.#off !== undefined || pod === undefined || pods.byCookie(pod.cookie) !== pod) return undefined;
    return { pod, pods };
  };

  /** Before the engine hears that policies of these pods change. */
  expire(pods: ReadonlySet<PodId>): void {
    this.#book.expire(pods);
  }

  /** After engine and routes know of a change. */
  settle(): void {
    this.#attributor.forget();
    this.#guard.check(this.#book.settle());
    this.#adopt();
  }

  flush(): void {
    this.#book.flush();
  }

  /** Routes that rest on the pod have been compiled anew. */
  captured(pod: LocalPod): void {
    this.#attributor.forget();
    this.#book.captured(pod, this.#options.compile);
    this.#book.flush();
    // While it was not ours to decide for, its policies may have changed under its open connections.
    if (this.#book.adopted) this.#guard.check(new Set([pod.cookie]));
    this.#shortcuts.captured(pod);
  }

  letGo(pod: LocalPod, kept: boolean): void {
    this.#attributor.forget();
    this.#book.letGo(pod, kept);
    this.#shortcuts.letGo(pod);
  }

  /** The pods of this node that were there at the start have come in. */
  podsKnown(): void {
    this.#podsKnown = true;
    this.#adopt();
  }

  /** Every ten seconds. */
  recheck(): void {
    this.#shortcuts.recheck();
    const lost = lostEvents(this.#options.plane);
    if (lost > this.#eventsLost) {
      this.#log.warn("records of connections were lost", { lost: lost - this.#eventsLost });
      // Among them may have been doubtful ones.
      if (this.#book.adopted) this.#guard.check(this.#everybody());
    }
    this.#eventsLost = lost;
  }

  /** Events of BPF. The mesh must be known for the names in their lines, so the first ones may have to wait. */
  readonly onEvents = (events: Uint8Array): void => {
    if (this.#book.adopted) {
      this.telemetry.events(events);
      return;
    }
    this.#held.push(events.slice());
    this.#heldBytes += events.byteLength;
    if (this.#heldBytes > MAX_HELD_BYTES) this.#tellHeld();
  };

  figures(): DirectFigures {
    return {
      routes: this.#book.size,
      verdicts: this.#verdicts.size,
      failures: this.#port.failures,
      ended: this.#guard.endedCount,
      redirected: this.#shortcuts.redirected,
      express: this.#shortcuts.expressOff === undefined,
    };
  }

  /** Of the whole node, for the dump. */
  status(): object {
    const { routes, verdicts } = this.figures();
    return {
      state: this.#off === undefined ? "on" : `off: ${this.#off}`,
      routes,
      verdicts,
      express: this.#shortcuts.expressOff === undefined ? "offered" : `off: ${this.#shortcuts.expressOff}`,
    };
  }

  /** Of one pod, for the dump. */
  shortcuts(id: PodId): object | undefined {
    const pod = this.#options.pods.get(id);
    return pod === undefined ? undefined : this.#shortcuts.of(pod);
  }

  /** Open now, as events. */
  connections(): Uint8Array {
    return this.#options.plane.directConnections();
  }

  close(): void {
    clearInterval(this.#renewal);
    this.#shortcuts.close();
    this.#tellHeld();
  }

  #adopt(): void {
    if (this.#book.adopted || !this.#podsKnown || !this.#options.state.synced) return;
    this.#book.adopt(this.#options.compile);
    this.#guard.check(this.#everybody());
    this.#permitPlain();
    this.#renewal = setInterval(() => this.#permitPlain(), PLAIN_RENEWED_MS);
    this.#renewal.unref();
    this.#tellHeld();
  }

  #everybody(): ReadonlySet<NetnsCookie> {
    const everybody = new Set<NetnsCookie>();
    for (const { cookie } of this.#options.pods.values()) everybody.add(cookie);
    return everybody;
  }

  #permitPlain(): void {
    try {
      this.#options.plane.permitPlain(PLAIN_FOR_MS);
    } catch (error) {
      this.#rareLog.warn("plaintext to the outside goes by the agent", errorText(error));
    }
  }

  #tellHeld(): void {
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const events of held) this.telemetry.events(events);
  }

  #policyOf(record: DirectRecord, reason: Reason): string | undefined {
    const { destination, sourcePod, destinationPod } = record;
    const ended = reason === "policy_changed" ? this.#guard.takeReason(record) : undefined;
    const { port } = destination;
    const key = { source: sourcePod, destination: destinationPod, port, family: familyOf(destination) };
    return ended ?? this.#verdicts.denialOf(key);
  }
}

export interface DirectFigures {
  /** Routes that BPF follows by itself. */
  readonly routes: number;
  readonly verdicts: number;
  /** Decisions that the maps did not take. */
  readonly failures: number;
  /** Connections that were ended because policies no longer allow them. */
  readonly ended: number;
  /** Pods with peer redirect. */
  readonly redirected: number;
  /** Whether express connections are offered. */
  readonly express: boolean;
}

function lostEvents(plane: BpfPlane): number {
  return plane.counters().event_lost ?? 0;
}
