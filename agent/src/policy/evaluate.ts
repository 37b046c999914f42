/**
 * The engine's evaluation of L4 policies once more (`native/src/policy/evaluate.cc`), for those who have no engine: the
 * command line says by it what would happen, and why. A property test compares the two.
 */
import { cidrContains } from "#lib/address.ts";
import { parseSpiffeId, type SpiffeId } from "#lib/spiffe.ts";
import type { Policy, PolicyAnswer, PolicyMatch, PolicyPeer, StringMatch } from "../native.ts";

export interface NamedPolicy {
  /** `namespace/name`. */
  readonly name: string;
  readonly policy: Policy;
}

/** All policies in force for a workload: DENY, then ALLOW if there is one, else everything is allowed. */
export function evaluate(policies: readonly NamedPolicy[], peer: PolicyPeer): PolicyAnswer {
  const of = (action: Policy["action"], dryRun: boolean) =>
    policies.filter(({ policy }) => policy.action === action && policy.dryRun === dryRun);
  const matching = (some: readonly NamedPolicy[]) =>
    some.filter(({ policy }) => matchingRule(policy, peer) !== undefined);
  const names = (some: readonly NamedPolicy[]) => some.map(({ name }) => name);
  const dryRun = names(matching(of("deny", true)));
  const [deny] = matching(of("deny", false));
  if (deny !== undefined) return { allowed: false, policy: deny.name, dryRun };
  const allows = of("allow", false);
  if (allows.length === 0) {
    const tried = of("allow", true);
    return { allowed: true, dryRun: matching(tried).length === 0 ? [...dryRun, ...names(tried)] : dryRun };
  }
  const [allow] = matching(allows);
  return allow === undefined ? { allowed: false, dryRun } : { allowed: true, policy: allow.name, dryRun };
}

/** The first rule that holds for the peer; undefined: none. */
export function matchingRule(policy: Policy, peer: PolicyPeer): number | undefined {
  const subject = subjectOf(peer);
  const index = policy.rules.findIndex((rule) =>
    rule.every((matches) => matches.length === 0 || matches.some((match) => matchHolds(match, subject))),
  );
  return index < 0 ? undefined : index;
}

interface Subject {
  readonly peer: PolicyPeer;
  readonly id: SpiffeId | undefined;
  readonly principal: string;
}

function subjectOf(peer: PolicyPeer): Subject {
  const id = peer.identity === undefined ? undefined : parseSpiffeId(peer.identity);
  return { peer, id, principal: peer.identity?.replace(/^spiffe:\/\//, "") ?? "" };
}

/** A match without any condition is skipped: it must not turn its clause true. */
function matchHolds(match: PolicyMatch, { peer, id, principal }: Subject): boolean {
  if (Object.values(match).every((values) => values.length === 0)) return false;
  const namespace = id?.namespace ?? "";
  const isAccount = (each: { readonly namespace: string; readonly serviceAccount: string }) =>
    id !== undefined && each.namespace === id.namespace && each.serviceAccount === id.serviceAccount;
  return (
    fieldHolds(match.destinationPorts, match.notDestinationPorts, (port) => port === peer.port) &&
    fieldHolds(match.sourceIps, match.notSourceIps, (range) => cidrContains(range, peer.sourceIp)) &&
    fieldHolds(match.destinationIps, match.notDestinationIps, (range) => cidrContains(range, peer.destinationIp)) &&
    fieldHolds(match.namespaces, match.notNamespaces, (text) => textHolds(text, namespace)) &&
    fieldHolds(match.principals, match.notPrincipals, (text) => id !== undefined && textHolds(text, principal)) &&
    fieldHolds(match.serviceAccounts, match.notServiceAccounts, isAccount)
  );
}

function fieldHolds<T>(anyOf: readonly T[], noneOf: readonly T[], holds: (value: T) => boolean): boolean {
  return (anyOf.length === 0 || anyOf.some(holds)) && !noneOf.some(holds);
}

function textHolds({ kind, value }: StringMatch, text: string): boolean {
  switch (kind) {
    case "exact":
      return text === value;
    case "prefix":
      return text.startsWith(value);
    case "suffix":
      return text.endsWith(value);
    case "presence":
      return text !== "";
  }
}
