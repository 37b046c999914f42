/**
 * Keeps the engine's policies in step: for every enrolled pod the names of all policies in force, and the text of each
 * named one. A name whose policy has not arrived is passed on as it is: the engine refuses until it does.
 */
import type { Command, PodId } from "../native.ts";
import type { Workload } from "../state/model.ts";
import type { PolicyStore, StoredPolicy } from "../state/policy-store.ts";

/** Stands for all policies of a pod whose workload is not known yet. No Authorization has such a name. */
export const UNKNOWN_WORKLOAD_POLICY = "/workload-not-known-yet";

export interface PolicySyncOptions {
  readonly policies: PolicyStore;
  readonly workloadOf: (pod: PodId) => Workload | undefined;
}

export class PolicySync {
  readonly #options: PolicySyncOptions;
  /** Names as the engine has them, by pod. */
  readonly #pods = new Map<PodId, readonly string[]>();
  /** What the engine has. One that the control plane has removed stays while a pod's workload still names it. */
  readonly #pushed = new Map<string, StoredPolicy>();

  constructor(options: PolicySyncOptions) {
    this.#options = options;
  }

  addPod(pod: PodId): Command[] {
    this.#pods.set(pod, []);
    return this.#sync(pod);
  }

  removePod(pod: PodId): Command[] {
    this.#pods.delete(pod);
    return this.#sync();
  }

  /** After any change of policies or of local workloads. */
  change(): Command[] {
    return this.#sync();
  }

  /**
   * Pods whose policies these commands change, to be asked before the engine gets them. Their verdicts of before do not
   * count any more.
   */
  affectedBy(commands: readonly Command[]): ReadonlySet<PodId> {
    const affected = new Set<PodId>();
    const texts = new Set<string>();
    for (const command of commands) {
      if (command.op === "set-pod-policies") affected.add(command.pod);
      else if (command.op === "set-policy" || command.op === "remove-policy") texts.add(command.name);
    }
    if (texts.size === 0) return affected;
    for (const [pod, names] of this.#pods) if (names.some((name) => texts.has(name))) affected.add(pod);
    return affected;
  }

  /** No policy at all is in force for the pod, not even one on trial. */
  unrestricted(pod: PodId): boolean {
    return this.#pods.get(pod)?.length === 0;
  }

  /** All policies in force for the pod have arrived. */
  known(pod: PodId): boolean {
    return this.#pods.get(pod)?.every((name) => this.#pushed.has(name)) ?? false;
  }

  /** Policies that some pod of this node is subject to, and that have arrived. */
  get inForce(): ReadonlyMap<string, StoredPolicy> {
    return this.#pushed;
  }

  /** Sets come before the lists that name them, removals after: no pod is without a policy that it has. */
  #sync(added?: PodId): Command[] {
    const commands: Command[] = [];
    const lists: Command[] = [];
    const named = new Set<string>();
    for (const [pod, before] of this.#pods) {
      const names = this.#namesOf(pod);
      for (const name of names) named.add(name);
      if (pod !== added && sameNames(before, names)) continue;
      this.#pods.set(pod, names);
      lists.push({ op: "set-pod-policies", pod, policies: names });
    }
    for (const name of named) {
      const stored = this.#options.policies.get(name);
      if (stored === undefined || this.#pushed.get(name) === stored) continue;
      this.#pushed.set(name, stored);
      commands.push({ op: "set-policy", name, policy: stored.policy });
    }
    commands.push(...lists);
    for (const name of this.#pushed.keys()) {
      if (named.has(name)) continue;
      this.#pushed.delete(name);
      commands.push({ op: "remove-policy", name });
    }
    return commands;
  }

  #namesOf(pod: PodId): readonly string[] {
    const workload = this.#options.workloadOf(pod);
    if (workload === undefined) return [UNKNOWN_WORKLOAD_POLICY];
    return this.#options.policies.namesFor(workload.namespace, workload.policies);
  }
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, index) => name === b[index]);
}
