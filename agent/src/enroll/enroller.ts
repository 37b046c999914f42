/**
 * Brings the pods of this node into the mesh and out of it, and keeps looking that what is in is really captured.
 *
 * Order in: connections wait from the pod's birth on; listeners, policies and identity, then capture, then what waits goes on,
 * then the annotation. Traffic that is captured always finds somebody who decides. Order out: capture first, so that new connections are untouched while the rest goes.
 * What an earlier process captured stays captured until we know whose it is: fail closed over a restart.
 */
import { Backoff } from "#lib/backoff.ts";
import { type Eligibility, eligibility, isTerminal, wantsDns, wantsExpress } from "#lib/eligibility.ts";
import type { Pod } from "#lib/kube/types.ts";
import { errorText, type Logger } from "#lib/log.ts";
import { formatSpiffeId } from "#lib/spiffe.ts";
import type { BpfPlane, CapturedPod, Engine, NetnsCookie, PodId } from "../native.ts";
import type { PodAnnotator } from "./annotator.ts";
import type { LocalPod, LocalPods } from "./local-pods.ts";
import type { Newcomers } from "./newcomers.ts";
import type { PodFolderView } from "./pod-folders.ts";
import { findPodNetns, type NetnsQuery, type PodNetns } from "./pod-netns.ts";
import type { PodSource } from "./pod-watch.ts";

/** Told around the engine's own add and remove. `added` may throw; the pod is then taken back out. */
export interface PodHooks {
  /** The pod's listeners stand, nothing is captured yet. */
  added(pod: LocalPod): void;
  /** Capture holds; also after it was renewed with other wishes of the pod. */
  captured(pod: LocalPod): void;
  /** The pod is no longer ours to decide for. `kept`: the kernel goes on capturing it, for its next enrolment. */
  letGo(pod: LocalPod, kept: boolean): void;
  /** Capture has ended or is kept; the engine still knows the pod. */
  removed(pod: LocalPod): void;
  /** Every ten seconds, when captures have been looked at. */
  rechecked(): void;
}

export interface EnrollerOptions {
  readonly source: PodSource;
  readonly engine: Engine;
  readonly bpf: BpfPlane;
  readonly pods: LocalPods;
  readonly hooks: PodHooks;
  readonly annotator: PodAnnotator;
  readonly podsCgroup: string;
  readonly folders: PodFolderView & { rescan(): void };
  readonly newcomers: Newcomers;
  readonly trustDomain: string;
  readonly excludedNamespaces: readonly string[];
  readonly dns: boolean;
  readonly log: Logger;
  readonly findNetns?: (query: NetnsQuery) => PodNetns | string;
  readonly netnsCookie: (path: string) => bigint;
}

interface Pending {
  readonly state: "pending";
  reason: string;
  attempts: number;
  readonly backoff: Backoff;
  timer: NodeJS.Timeout | undefined;
  /** Something has just happened in its cgroup: until then it is looked at all the time. */
  eagerUntilMs: number;
  /** A capture that outlived the pod's engine side: kept, so that nothing leaves in the clear meanwhile. */
  kept: bigint | undefined;
}

interface Enrolled {
  readonly state: "enrolled";
  pod: LocalPod;
  readonly inode: bigint;
}

type PodState = Pending | Enrolled;

export interface EnrollmentStatus {
  readonly uid: string;
  readonly state: "Up" | "Pending";
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly id: PodId | undefined;
  /** Of its network namespace, once it is captured. */
  readonly cookie: NetnsCookie | undefined;
  readonly reason: string | undefined;
}

const RETRY_MS = [100, 5000] as const;
/** After a pod's first process has come its network is set up, in some layouts, and its applications follow: that is no time to wait. */
const EAGER_MS = { every: 20, for: 3000 } as const;
/** A pod that runs here and that the API does not know for so long is none of ours. */
const UNHEARD_OF_MS = 2000;
const RECHECK_MS = 10_000;
/** Failures that only last a moment are not worth an annotation, which the whole mesh hears of. */
const ANNOTATE_PENDING_AFTER = 4;

export class Enroller {
  readonly #options: EnrollerOptions;
  readonly #findNetns: (query: NetnsQuery) => PodNetns | string;
  readonly #states = new Map<string, PodState>();
  /** Pods that are held, in the order in which they are tried. */
  readonly #line = new Set<string>();
  #turn: NodeJS.Immediate | undefined;
  #lastId: PodId = 0;
  #recheck: NodeJS.Timeout | undefined;
  #phase: "idle" | "running" | "draining" = "idle";
  #adopting = true;
  #startedCount = 0;
  #stoppedCount = 0;

  constructor(options: EnrollerOptions) {
    this.#options = options;
    this.#findNetns = options.findNetns ?? findPodNetns;
  }

  /** To be called once pods and namespaces are known. */
  start(): void {
    this.#phase = "running";
    this.#options.folders.rescan();
    for (const pod of this.#options.source.pods()) this.reconcile(pod.metadata.uid ?? "");
    for (const uid of this.#options.folders.uids()) this.#tellOutside(uid);
    this.#options.newcomers.guard();
    this.#releaseStale();
    this.#recheck = setInterval(() => this.recheck(), RECHECK_MS);
    this.#recheck.unref();
  }

  /**
   * Takes nobody in any more and lets nobody go: pods stay as they are, captured and in the kernel's hands. Who is born meanwhile is
   * still told apart, so that the next agent finds pods of the mesh that have said nothing, and others that were not touched.
   */
  drain(): void {
    this.#phase = "draining";
    clearInterval(this.#recheck);
    clearImmediate(this.#turn);
    for (const state of this.#states.values()) if (state.state === "pending") clearTimeout(state.timer);
  }

  /** Stops looking. */
  stop(): void {
    this.drain();
    this.#phase = "idle";
    this.#options.newcomers.stop();
  }

  /**
   * No agent follows this one: every pod leaves the mesh, and its annotation goes. Traffic is untouched from here on. What could not be
   * said to the API by `signal` stays said.
   */
  async leaveForGood(signal: AbortSignal): Promise<void> {
    this.stop();
    this.#options.newcomers.letGo();
    for (const uid of [...this.#states.keys()]) this.#leave(uid, "the agent is removed from this node");
    for (const pod of this.#options.source.pods()) {
      if (pod.spec?.hostNetwork !== true) this.#options.annotator.set(pod, undefined);
    }
    await this.#options.annotator.settled(signal);
  }

  namespaceChanged(namespace: string): void {
    for (const pod of this.#options.source.pods()) {
      if (pod.metadata.namespace === namespace) this.reconcile(pod.metadata.uid ?? "");
    }
  }

  /** The pod's cgroup folder has come, got or lost its processes, or is gone. */
  folderChanged(uid: string): void {
    if (this.#phase === "idle") return;
    const pod = this.#options.source.pod(uid);
    const state = this.#states.get(uid);
    if (pod === undefined) {
      if (this.#options.folders.of(uid) !== undefined) setTimeout(() => this.#tellOutside(uid), UNHEARD_OF_MS).unref();
      return;
    }
    if (state?.state === "enrolled" && this.#phase === "running") this.#checkSandbox(uid, pod, state);
    else if (state?.state === "pending") state.eagerUntilMs = performance.now() + EAGER_MS.for;
    this.reconcile(uid);
  }

  /** Brings one pod to where it belongs now. */
  reconcile(uid: string): void {
    if (this.#phase === "idle") return;
    const pod = this.#options.source.pod(uid);
    if (this.#phase === "draining") {
      if (pod !== undefined && this.#tellApart(uid, pod).eligible) this.#holdNewborn(uid, pod);
      return;
    }
    if (pod === undefined) {
      this.#leave(uid, "pod deleted");
      this.#options.newcomers.say(uid, "outside");
      this.#options.annotator.forget(uid);
      return;
    }
    const verdict = this.#tellApart(uid, pod);
    if (verdict.eligible) {
      this.#enter(uid, pod);
      return;
    }
    this.#leave(uid, verdict.why);
    if (this.#adopting) this.#releaseUnwanted(uid, pod);
    if (!isTerminal(pod)) this.#options.annotator.set(pod, undefined);
  }

  /** Whose a pod is, and the kernel is told when it is none of ours. */
  #tellApart(uid: string, pod: Pod): Eligibility {
    const { source, newcomers, excludedNamespaces } = this.#options;
    const namespaceLabels = source.namespaceLabels(pod.metadata.namespace ?? "");
    const verdict = eligibility({ pod, namespaceLabels, excludedNamespaces });
    // A namespace that the API has yet to tell of may be of the mesh.
    if (!verdict.eligible && namespaceLabels !== undefined) newcomers.say(uid, "outside");
    return verdict;
  }

  /** Who runs in the clear, and always has, goes on until capture holds. */
  #holdNewborn(uid: string, pod: Pod): void {
    const { newcomers } = this.#options;
    const state = this.#states.get(uid);
    if (state?.state === "enrolled" || state?.kept !== undefined) return;
    if (isNewborn(pod) || newcomers.of(uid) === "inside") newcomers.say(uid, "held");
  }

  /** The mesh's records of this node's workloads changed: an identity may be another than was assumed. */
  localsChanged(): void {
    // A copy: who is enrolled anew comes again at the end of the map.
    for (const [uid, state] of [...this.#states]) {
      if (state.state !== "enrolled") continue;
      const pod = this.#options.source.pod(uid);
      if (pod !== undefined && !sameConfig(state.pod, this.#describe(pod, state.pod))) this.reconcile(uid);
    }
  }

  status(): EnrollmentStatus[] {
    return [...this.#states].map(([uid, state]) => {
      const pod = this.#options.source.pod(uid);
      return {
        uid,
        state: state.state === "enrolled" ? "Up" : "Pending",
        namespace: pod?.metadata.namespace ?? "",
        name: pod?.metadata.name ?? "",
        serviceAccount: pod?.spec?.serviceAccountName ?? "default",
        id: state.state === "enrolled" ? state.pod.id : undefined,
        cookie: state.state === "enrolled" ? state.pod.cookie : undefined,
        reason: state.state === "pending" ? state.reason : undefined,
      };
    });
  }

  /** Pods enrolled and pending now, and how many have come and gone since the start. */
  counts(): { active: number; pending: number; started: number; stopped: number } {
    let active = 0;
    for (const { state } of this.#states.values()) if (state === "enrolled") active++;
    return {
      active,
      pending: this.#states.size - active,
      started: this.#startedCount,
      stopped: this.#stoppedCount,
    };
  }

  /** Looks whether what should be captured is, in the namespace that the pod is in now. */
  recheck(): void {
    const captured = new Set(this.#options.bpf.captured());
    for (const [uid, state] of [...this.#states]) {
      const pod = this.#options.source.pod(uid);
      if (state.state !== "enrolled" || pod === undefined) continue;
      if (captured.has(state.pod.cookie)) this.#checkSandbox(uid, pod, state);
      else this.#comeAnew(uid, pod, "capture is gone");
    }
    this.#options.folders.rescan();
    this.#options.newcomers.sweep();
    this.#releaseStale();
    this.#options.hooks.rechecked();
  }

  #checkSandbox(uid: string, pod: Pod, state: Enrolled): void {
    const lost = this.#movedAway(uid, state);
    if (lost !== undefined) this.#comeAnew(uid, pod, lost);
  }

  #comeAnew(uid: string, pod: Pod, lost: string): void {
    this.#options.log.warn("pod is no longer captured", { pod: podName(pod), reason: lost });
    this.#leave(uid, lost);
    this.#enter(uid, pod);
  }

  #tellOutside(uid: string): void {
    if (this.#phase !== "idle" && this.#options.source.pod(uid) === undefined)
      this.#options.newcomers.say(uid, "outside");
  }

  #enter(uid: string, pod: Pod): void {
    const state = this.#states.get(uid);
    if (state?.state === "enrolled") {
      const wanted = this.#describe(pod, state.pod);
      if (sameConfig(state.pod, wanted) && (state.pod.express === wanted.express || this.#recapture(state, wanted))) {
        this.#options.annotator.set(pod, "enabled");
        return;
      }
      this.#takeOut(uid, state, "pod changed", true);
    }
    const pending: Pending =
      state?.state === "pending"
        ? state
        : {
            state: "pending",
            reason: "",
            attempts: 0,
            backoff: new Backoff(...RETRY_MS),
            timer: undefined,
            eagerUntilMs: performance.now() + EAGER_MS.for,
            kept: state?.pod.cookie,
          };
    this.#states.set(uid, pending);
    this.#holdNewborn(uid, pod);
    if (this.#options.newcomers.of(uid) === "held") this.#standInLine(uid);
    else this.#attempt(uid, pod, pending);
  }

  /**
   * What is held can wait for its turn, one at a time: meanwhile we hear of the next pods, which have to be held before they connect,
   * and that is a matter of milliseconds where an enrolment takes tens of them.
   */
  #standInLine(uid: string): void {
    this.#line.add(uid);
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      const [next = ""] = this.#line;
      this.#line.delete(next);
      const pod = this.#options.source.pod(next);
      const state = this.#states.get(next);
      if (this.#phase === "running" && pod !== undefined && state?.state === "pending") this.#attempt(next, pod, state);
      const [another] = this.#line;
      if (another !== undefined) this.#standInLine(another);
    });
  }

  #attempt(uid: string, pod: Pod, pending: Pending): void {
    clearTimeout(pending.timer);
    const failure = this.#tryEnroll(uid, pod);
    if (failure === undefined) {
      this.#options.annotator.set(pod, "enabled");
      this.#options.log.info("enrolled pod", { pod: podName(pod), attempts: pending.attempts + 1 });
      return;
    }
    pending.attempts++;
    if (failure !== pending.reason) {
      this.#options.log[pending.attempts > ANNOTATE_PENDING_AFTER ? "warn" : "debug"]("pod is pending", {
        pod: podName(pod),
        reason: failure,
      });
    }
    pending.reason = failure;
    // Without an address the pod is only starting; the API will tell us of it.
    if (pending.attempts >= ANNOTATE_PENDING_AFTER && podAddresses(pod).length > 0) {
      this.#options.annotator.set(pod, "pending");
    }
    const isEager = performance.now() < pending.eagerUntilMs && this.#options.folders.of(uid) !== undefined;
    pending.timer = setTimeout(() => this.reconcile(uid), isEager ? EAGER_MS.every : pending.backoff.next());
    pending.timer.unref();
  }

  /** Undefined when the pod is enrolled, else why it is not. */
  #tryEnroll(uid: string, pod: Pod): string | undefined {
    const { engine, bpf, pods, hooks } = this.#options;
    const found = this.#findNetns({
      podsCgroup: this.#options.podsCgroup,
      uid,
      addresses: podAddresses(pod),
    });
    if (typeof found === "string") return found;
    using netns = found;
    const owner = this.#ownerOf(netns.inode);
    if (owner !== undefined) return `its network namespace already belongs to pod ${owner}`;
    let local: LocalPod;
    try {
      const cookie = this.#options.netnsCookie(netns.path);
      local = this.#describe(pod, { id: ++this.#lastId, uid, cookie, addresses: netns.addresses });
    } catch (error) {
      return `network namespace: ${errorText(error)}`;
    }
    try {
      engine.addPod({
        id: local.id,
        uid,
        netnsPath: netns.path,
        addresses: local.addresses,
        identity: local.identity,
        baggage: "",
      });
    } catch (error) {
      return `listeners: ${errorText(error)}`;
    }
    pods.add(local);
    try {
      hooks.added(local);
      bpf.capture(captureOf(local, netns.path));
    } catch (error) {
      hooks.removed(local);
      pods.delete(local.id);
      engine.removePod(local.id);
      return `capture: ${errorText(error)}`;
    }
    this.#options.newcomers.say(uid, "inside");
    this.#states.set(uid, { state: "enrolled", pod: local, inode: netns.inode });
    this.#startedCount++;
    pods.capture(local);
    hooks.captured(local);
    return undefined;
  }

  /** Only the kernel needs to know of what has changed. False when the pod must come in anew. */
  #recapture(state: Enrolled, wanted: LocalPod): boolean {
    const { podsCgroup, bpf, pods, hooks } = this.#options;
    const found = this.#findNetns({ podsCgroup, uid: wanted.uid, addresses: wanted.addresses });
    if (typeof found === "string") return false;
    using netns = found;
    if (netns.inode !== state.inode) return false;
    try {
      bpf.capture(captureOf(wanted, netns.path));
    } catch {
      // Coming in anew will say why, and try again.
      return false;
    }
    state.pod = wanted;
    pods.add(wanted);
    hooks.captured(wanted);
    return true;
  }

  #leave(uid: string, why: string): void {
    const state = this.#states.get(uid);
    if (state === undefined) return;
    const cookie = state.state === "enrolled" ? state.pod.cookie : state.kept;
    if (cookie !== undefined) this.#options.bpf.release(cookie);
    if (state.state === "enrolled") {
      this.#takeOut(uid, state, why, false);
      return;
    }
    clearTimeout(state.timer);
    this.#states.delete(uid);
  }

  /** Ends the engine's side of a pod and leaves its capture as it is. */
  #takeOut(uid: string, { pod }: Enrolled, why: string, kept: boolean): void {
    const { engine, pods, hooks, log } = this.#options;
    this.#states.delete(uid);
    pods.letGo(pod);
    hooks.letGo(pod, kept);
    hooks.removed(pod);
    pods.delete(pod.id);
    engine.removePod(pod.id);
    this.#stoppedCount++;
    log.info("unenrolled pod", { pod: `${pod.namespace}/${pod.name}`, reason: why });
  }

  #describe(pod: Pod, enrolled: Pick<LocalPod, "id" | "uid" | "cookie" | "addresses">): LocalPod {
    const { id, uid, cookie } = enrolled;
    const { namespace = "", name } = pod.metadata;
    const serviceAccount = pod.spec?.serviceAccountName ?? "default";
    const told = podAddresses(pod);
    // What the namespace has was known first, and may be more than the API tells of.
    const addresses = told.every((ip) => enrolled.addresses.includes(ip)) ? enrolled.addresses : told;
    const known = this.#options.pods.find({ namespace, name, serviceAccount, addresses });
    const trustDomain = known?.trustDomain ?? this.#options.trustDomain;
    return {
      id,
      cookie,
      uid,
      namespace,
      name,
      serviceAccount,
      addresses,
      identity: formatSpiffeId({ trustDomain, namespace, serviceAccount }),
      dns: wantsDns(pod, this.#options.dns),
      express: wantsExpress(pod),
    };
  }

  #ownerOf(inode: bigint): string | undefined {
    for (const state of this.#states.values()) {
      if (state.state === "enrolled" && state.inode === inode) return `${state.pod.namespace}/${state.pod.name}`;
    }
    return undefined;
  }

  /** A pod that got a new sandbox has the same uid and another namespace. */
  #movedAway(uid: string, state: Enrolled): string | undefined {
    const { podsCgroup } = this.#options;
    const found = this.#findNetns({ podsCgroup, uid, addresses: state.pod.addresses });
    if (typeof found === "string") return undefined;
    using netns = found;
    return netns.inode === state.inode ? undefined : "pod has a new network namespace";
  }

  /** An earlier process captured this pod, which has left the mesh since. */
  #releaseUnwanted(uid: string, pod: Pod): void {
    if (pod.spec?.hostNetwork === true || isTerminal(pod)) return;
    const { podsCgroup, bpf } = this.#options;
    const found = this.#findNetns({ podsCgroup, uid, addresses: podAddresses(pod) });
    if (typeof found === "string") return;
    using netns = found;
    const cookie = this.#options.netnsCookie(netns.path);
    if (bpf.captured().includes(cookie)) bpf.release(cookie);
  }

  /**
   * Ends captures that belong to no pod of ours. Not while a pod is pending: one of them may be its, and letting go
   * would send its traffic out in the clear.
   */
  #releaseStale(): void {
    const ours = new Set<bigint>();
    for (const state of this.#states.values()) {
      if (state.state === "pending") return;
      ours.add(state.pod.cookie);
    }
    this.#adopting = false;
    for (const cookie of this.#options.bpf.captured()) {
      if (ours.has(cookie)) continue;
      this.#options.bpf.release(cookie);
      this.#options.log.info("released a capture of no living pod", { netns_cookie: String(cookie) });
    }
  }
}

/** None of its containers has run, as far as the API knows. */
function isNewborn(pod: Pod): boolean {
  return pod.status?.phase === "Pending";
}

export function podAddresses(pod: Pod): readonly string[] {
  const many = pod.status?.podIPs?.map(({ ip }) => ip) ?? [];
  if (many.length > 0) return many;
  return pod.status?.podIP === undefined ? [] : [pod.status.podIP];
}

function captureOf(pod: LocalPod, netnsPath: string): CapturedPod {
  const { id, addresses, dns, express } = pod;
  return { id, netnsPath, addresses, dns, express };
}

/** Whether the engine would be told the same. */
function sameConfig(a: LocalPod, b: LocalPod): boolean {
  return a.identity === b.identity && a.dns === b.dns && a.addresses.join() === b.addresses.join();
}

function podName(pod: Pod): string {
  return `${pod.metadata.namespace}/${pod.metadata.name}`;
}
