/** The mesh under each of its names: principals of policies hold in all of its trust domains. */
import { create } from "@bufbuild/protobuf";
import {
  PolicyCondition_Key as Key,
  type Policy,
  type PolicyCondition,
  type PolicySource,
  type StringMatch,
  StringMatchSchema,
} from "#proto/l7_pb.ts";

/** What Istio's documentation writes, whatever the mesh is called. */
const EVERY_MESH = "cluster.local";

/** `trustDomains`: the mesh's own and its aliases. */
export function withTrustDomains(policy: Policy, trustDomains: readonly string[]): Policy {
  const expanded = (matches: readonly StringMatch[]) => matches.flatMap((match) => expand(match, trustDomains));
  const source = (from: PolicySource): PolicySource => ({
    ...from,
    principals: expanded(from.principals),
    notPrincipals: expanded(from.notPrincipals),
  });
  const condition = (when: PolicyCondition): PolicyCondition =>
    when.key === Key.SOURCE_PRINCIPAL
      ? { ...when, values: expanded(when.values), notValues: expanded(when.notValues) }
      : when;
  const rules = policy.rules.map((rule) => ({ ...rule, from: rule.from.map(source), when: rule.when.map(condition) }));
  return { ...policy, rules };
}

/** One that begins with a star, or with another trust domain than the mesh's, is kept as it is. */
function expand(match: StringMatch, trustDomains: readonly string[]): StringMatch[] {
  const { kind } = match;
  if (kind.case !== "exact" && kind.case !== "prefix") return [match];
  const slash = kind.value.indexOf("/");
  const domain = kind.value.slice(0, Math.max(slash, 0));
  if (domain !== EVERY_MESH && !trustDomains.includes(domain)) return [match];
  return trustDomains.map((each) =>
    create(StringMatchSchema, { kind: { case: kind.case, value: each + kind.value.slice(slash) } }),
  );
}
