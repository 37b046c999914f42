/** What is to be said of policies for waypoints: again when a target appears, is bound, or goes. */
import type { Verdict } from "../../model/accepted.ts";
import { keyOf, type Meta, metaOf } from "../../model/meta.ts";
import { OwnedNames } from "../../model/owned-names.ts";
import type { Finding } from "../../status/status-writer.ts";
import { type TargetStates, waypointFinding } from "./policy-finding.ts";
import { type Target, targetKey } from "./policy-target.ts";

interface Targeted extends Meta {
  readonly targets: readonly Target[];
}

export interface WaypointFindingsOptions<F extends Targeted> {
  readonly stateOf: TargetStates;
  readonly onFinding: (finding: Finding) => void;
  /** What beside the targets keeps a policy from working; empty if nothing. */
  readonly obstacle?: (facts: F) => string;
}

export class WaypointFindings<F extends Targeted> {
  readonly #options: WaypointFindingsOptions<F>;
  readonly #verdicts = new Map<string, Verdict<F>>();
  readonly #byTarget = new OwnedNames();

  constructor(options: WaypointFindingsOptions<F>) {
    this.#options = options;
  }

  /** A version of a policy was read. */
  note(verdict: Verdict<F>): void {
    const key = keyOf(metaOf(verdict.object));
    this.forget(key);
    if (verdict.facts === undefined) return;
    this.#verdicts.set(key, verdict);
    for (const target of verdict.facts.targets) this.#byTarget.add(targetKey(target), key);
    this.#tell(verdict);
  }

  /** There is no such policy any more. */
  forget(key: string): void {
    for (const target of this.#verdicts.get(key)?.facts?.targets ?? []) this.#byTarget.remove(targetKey(target), key);
    this.#verdicts.delete(key);
  }

  targetChanged(target: Target): void {
    for (const key of this.#byTarget.of(targetKey(target))) this.#tellAgain(key);
  }

  /** Whatever it depends on, what keeps this policy from working may be another thing now. */
  recheck(key: string): void {
    this.#tellAgain(key);
  }

  recheckAll(): void {
    for (const verdict of this.#verdicts.values()) this.#tell(verdict);
  }

  #tellAgain(key: string): void {
    const verdict = this.#verdicts.get(key);
    if (verdict !== undefined) this.#tell(verdict);
  }

  #tell(verdict: Verdict<F>): void {
    const { stateOf, onFinding, obstacle } = this.#options;
    const extra = verdict.facts === undefined ? "" : (obstacle?.(verdict.facts) ?? "");
    const finding = waypointFinding(verdict, stateOf, extra);
    if (finding !== undefined) onFinding(finding);
  }
}
