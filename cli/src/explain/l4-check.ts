/** What the agent of the destination says of a connection. */
import type { PolicyMatch, PolicyPeer } from "../../../agent/src/native.ts";
import { evaluate, matchingRule } from "../../../agent/src/policy/evaluate.ts";
import type { Workload } from "../../../agent/src/state/model.ts";
import type { StoredPolicy } from "../../../agent/src/state/policy-store.ts";
import { STATIC_STRICT_NAME } from "../../../control/src/model/peer-authentication.ts";
import { type Checkpoint, type PolicyOpinion, whyOf } from "./checkpoint.ts";
import type { AgentView, MeshPicture } from "./picture.ts";

/** `port` is the workload's own. */
export function checkAtAgent(
  picture: MeshPicture,
  view: AgentView,
  workload: Workload,
  peer: PolicyPeer,
  node: string,
): Checkpoint {
  const policies = policiesOf(view, workload);
  const answer = evaluate(
    policies.map(({ key, policy }) => ({ name: key, policy })),
    peer,
  );
  const opinions = policies.map((policy) => opinionOf(picture, policy, peer));
  const identity = peer.identity ?? "";
  const rule = opinions.find(({ name }) => name === answer.policy)?.rule;
  return {
    at: `agent of ${node === "" ? "its node" : node} for pod ${workload.namespace}/${workload.name}`,
    peer: identity,
    verdict: answer.allowed ? "allowed" : "denied",
    why: whyOf({ ...answer, rule }, opinions, identity),
    policy: answer.policy,
    policies: opinions,
    dryRun: answer.dryRun,
  };
}

/** As the agent has them, by name. */
export function policiesOf({ state }: AgentView, workload: Workload): StoredPolicy[] {
  const names = state.policies.namesFor(workload.namespace, workload.policies);
  return names.map((name) => state.policies.get(name)).filter((policy) => policy !== undefined);
}

export function opinionOf(picture: MeshPicture, stored: StoredPolicy, peer: PolicyPeer): PolicyOpinion {
  const { key, policy, scope, namespace, name } = stored;
  return {
    layer: "L4",
    name: key,
    action: policy.action === "allow" ? "ALLOW" : "DENY",
    dryRun: policy.dryRun,
    scope: scope === "global" ? "mesh" : scope === "namespace" ? `namespace ${namespace}` : "selected workloads",
    rule: matchingRule(policy, peer),
    rules: policy.rules.map((clauses) => clauses.map(clauseText).join(" and ") || "anything"),
    remark: remarkOf(picture, key, name),
  };
}

/** Where a policy of ours comes from, and what is lost of one of the user's. */
function remarkOf({ snapshot }: MeshPicture, key: string, name: string): string {
  if (name === STATIC_STRICT_NAME) return "PeerAuthentication with mode STRICT";
  if (name.startsWith("converted_peer_authentication_")) {
    return `PeerAuthentication ${name.slice("converted_peer_authentication_".length)}`;
  }
  return snapshot.model.authorizationPolicies.get(key)?.unsupported ?? "";
}

function clauseText(matches: readonly PolicyMatch[]): string {
  const texts = matches.map(matchText);
  return texts.length > 1 ? `(${texts.join(" or ")})` : (texts[0] ?? "anything");
}

function matchText(match: PolicyMatch): string {
  const said = Object.entries(match as unknown as Record<string, readonly unknown[]>).filter(
    ([, values]) => values.length > 0,
  );
  if (said.length === 0) return "nothing that can be told here";
  return said.map(([field, values]) => `${field} ${values.map(valueText).join(" | ")}`).join(" and ");
}

function valueText(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  const { kind, value: text, ip, length, namespace, serviceAccount } = value as Record<string, string>;
  if (ip !== undefined) return `${ip}/${length}`;
  if (serviceAccount !== undefined) return `${namespace}/${serviceAccount}`;
  if (kind === "presence") return "*";
  return `${kind === "suffix" ? "*" : ""}${text}${kind === "prefix" ? "*" : ""}`;
}
