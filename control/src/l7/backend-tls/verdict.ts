/** What is said of a BackendTLSPolicy in its status, waypoint by waypoint. */

import { describeProblems } from "../../model/fields.ts";
import type { WantedCondition } from "../../status/status-writer.ts";
import { authorityProblem } from "../credentials/client-tls.ts";
import type { CredentialSource } from "../credentials/credential-ref.ts";
import { authoritiesOf, isConfigMap } from "./plan.ts";
import { type BackendTlsPolicies, isService } from "./policies.ts";
import type { BackendTlsPolicyFacts } from "./policy.ts";

/** Undefined: its authorities are not heard of yet. */
export function policyConditions(
  policy: BackendTlsPolicyFacts,
  policies: BackendTlsPolicies,
  credentials: CredentialSource,
): readonly WantedCondition[] | undefined {
  const refs = authoritiesOf(policy);
  if (refs.some((ref) => credentials.get(ref).state === "loading")) return undefined;
  const kinds = policy.authorities
    .filter((ref) => !isConfigMap(ref))
    .map(({ group, kind, name }) => `${group === "" ? kind : `${group}/${kind}`} ${name} is no ConfigMap`);
  const broken = refs.flatMap((ref) => {
    const problem = authorityProblem(ref, credentials);
    return problem === undefined ? [] : [problem];
  });
  const problems = [...kinds, ...broken];
  const resolved: WantedCondition =
    problems.length === 0
      ? { type: "ResolvedRefs", status: "True", reason: "ResolvedRefs", message: "all references were found" }
      : {
          type: "ResolvedRefs",
          status: "False",
          reason: kinds.length > 0 ? "InvalidKind" : "InvalidCACertificateRef",
          message: problems.join("; "),
        };
  const none = policy.authorities.length > 0 && problems.length === policy.authorities.length;
  return [acceptedCondition(policy, policies, none), resolved];
}

function acceptedCondition(
  policy: BackendTlsPolicyFacts,
  policies: BackendTlsPolicies,
  withoutAuthority: boolean,
): WantedCondition {
  const no = (reason: string, message: string): WantedCondition => ({
    type: "Accepted",
    status: "False",
    reason,
    message,
  });
  if (policy.invalid.length > 0)
    return no("Invalid", `${describeProblems(policy.invalid)}; its targets are not talked to`);
  const targets = policy.targets.filter(isService);
  const winners = targets.map((target) => policies.inForce(policy, target)).filter((each) => each !== policy);
  if (winners.length === targets.length) {
    const names = [...new Set(winners.map((winner) => winner?.name))].join(", ");
    return no("Conflicted", `an older policy is for the same: ${names}`);
  }
  if (withoutAuthority)
    return no("NoValidCACertificate", "none of its authorities can be used: its targets are not talked to");
  const message = winners.length === 0 ? "in force" : "in force, but for targets that an older policy is for";
  return { type: "Accepted", status: "True", reason: "Accepted", message };
}
