/** `WaypointAccepted`: whether waypoints enforce a policy, and where not. */
import type { Verdict } from "../../model/accepted.ts";
import { describeProblems } from "../../model/fields.ts";
import type { Meta } from "../../model/meta.ts";
import type { Finding, WantedCondition } from "../../status/status-writer.ts";
import type { Target } from "./policy-target.ts";

export const WAYPOINT_ACCEPTED = "WaypointAccepted";

/** What became of one target of a policy. */
export type TargetState = "bound" | "not found" | "not bound";

/** Who knows of targets. */
export type TargetStates = (target: Target) => TargetState;

interface Targeted extends Meta {
  readonly targets: readonly Target[];
}

/** Undefined for policies that are not for waypoints. `extra` is what else keeps it from working, empty if nothing. */
export function waypointFinding(verdict: Verdict<Targeted>, stateOf: TargetStates, extra = ""): Finding | undefined {
  const { object, problems, facts, keptLastGood } = verdict;
  if (facts === undefined) return undefined;
  const finding = (condition: Omit<WantedCondition, "type">): Finding => ({
    object,
    condition: { type: WAYPOINT_ACCEPTED, ...condition },
    always: true,
  });
  if (problems.length > 0) {
    const effect = keptLastGood
      ? "the last valid version stays in force"
      : "there is no valid version; what is understood is in force and nothing more is allowed by it";
    return finding({ status: "False", reason: "Invalid", message: `${describeProblems(problems)}; ${effect}` });
  }
  const states = facts.targets.map((target) => ({ target, state: stateOf(target) }));
  const bad = states.filter(({ state }) => state !== "bound");
  if (bad.length > 0) {
    const message = bad.map(({ target, state }) => describeTarget(target, state)).join("; ");
    if (bad.length < states.length) return finding({ status: "True", reason: "PartiallyInvalid", message });
    const missing = bad.every(({ state }) => state === "not found");
    return finding({ status: "False", reason: missing ? "TargetNotFound" : "AncestorNotBound", message });
  }
  if (extra !== "") return finding({ status: "False", reason: "Invalid", message: extra });
  return finding({ status: "True", reason: "Accepted", message: "enforced by waypoints" });
}

function describeTarget({ kind, namespace, name }: Target, state: TargetState): string {
  const what = `${kind} ${namespace === "" ? name : `${namespace}/${name}`}`;
  return state === "not found" ? `${what} does not exist` : `${what} is not bound to a waypoint`;
}
