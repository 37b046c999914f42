/** What is to be said of an Istio object once it has been read. */
import type { Verdict } from "../model/accepted.ts";
import type { AuthorizationPolicyFacts } from "../model/authorization-policy.ts";
import { describeProblems } from "../model/fields.ts";
import type { Meta } from "../model/meta.ts";
import type { Finding, WantedCondition } from "./status-writer.ts";

/** Whether node agents enforce all of a policy. */
export const ZTUNNEL_ACCEPTED = "ZtunnelAccepted";
/** Whether the last version of an object is in force. */
export const ACCEPTED = "Accepted";

/** Undefined for policies that node agents have nothing to say of. */
export function policyFinding(verdict: Verdict<AuthorizationPolicyFacts>): Finding | undefined {
  const { object, problems, facts } = verdict;
  if (facts?.targeted === true) return undefined;
  if (problems.length > 0) return { object, condition: invalid(ZTUNNEL_ACCEPTED, verdict), always: true };
  if (facts === undefined) return undefined;
  const condition: WantedCondition =
    facts.unsupported === ""
      ? { type: ZTUNNEL_ACCEPTED, status: "True", reason: "Accepted", message: "enforced by node agents" }
      : { type: ZTUNNEL_ACCEPTED, status: "False", reason: "UnsupportedValue", message: facts.unsupported };
  return { object, condition, always: true };
}

/** For the other kinds: only problems are worth a condition. */
export function objectFinding<F extends Meta>(verdict: Verdict<F>): Finding {
  const { object, problems } = verdict;
  if (problems.length > 0) return { object, condition: invalid(ACCEPTED, verdict), always: true };
  return {
    object,
    condition: { type: ACCEPTED, status: "True", reason: "Accepted", message: "in force" },
    always: false,
  };
}

function invalid<F extends Meta>(type: string, { problems, keptLastGood }: Verdict<F>): WantedCondition {
  const effect = keptLastGood
    ? "the last valid version stays in force"
    : "there is no valid version; what is understood is in force and nothing more is allowed by it";
  return { type, status: "False", reason: "Invalid", message: `${describeProblems(problems)}; ${effect}` };
}
