/** What a waypoint says of a request or connection. */
import { Policy_Action as Action, type Policy, PolicyCondition_Key, type StringMatch } from "#proto/l7_pb.ts";
import {
  type AnyDecision,
  decideAnyRequest,
  decidePolicies,
  type HttpDecision,
  type HttpSubject,
  matchingHttpRule,
} from "../../../control/src/l7/security/evaluate-policies.ts";
import type { Target } from "../../../control/src/l7/security/policy-target.ts";
import { type Checkpoint, type PolicyOpinion, whyOf } from "./checkpoint.ts";
import type { MeshPicture } from "./picture.ts";

/** AUDIT and CUSTOM decide nothing by themselves. */
function actionName(action: Action): PolicyOpinion["action"] {
  if (action === Action.ALLOW) return "ALLOW";
  if (action === Action.DENY) return "DENY";
  return action === Action.AUDIT ? "AUDIT" : "CUSTOM";
}

/** `isHttp`: each request is asked about by itself, not the connection. */
export function checkAtWaypoint(
  picture: MeshPicture,
  waypoint: string,
  targets: readonly Target[],
  subject: HttpSubject,
  isHttp: boolean,
): Checkpoint {
  const targeted = targetedPolicies(picture, targets);
  const policies = targeted.map(({ policy }) => policy);
  const isOpen = isHttp && subject.request === undefined;
  const opinions = targeted.map((each) => opinionOf(each, subject));
  const asked = opinions.filter(({ action, rule, dryRun }) => action === "CUSTOM" && rule !== undefined && !dryRun);
  const [first] = asked;
  if (!isHttp && first !== undefined) {
    const why = `CUSTOM policy ${first.name} matches, and its authorizer cannot be asked about plain TCP`;
    const at = `waypoint ${waypoint}`;
    return { at, peer: subject.identity, verdict: "denied", why, policy: first.name, policies: opinions, dryRun: [] };
  }
  const decision: AnyDecision = isOpen
    ? decideAnyRequest(policies, subject)
    : { ...decidePolicies(policies, subject), depends: false };
  return {
    at: `waypoint ${waypoint}`,
    peer: subject.identity,
    verdict: decision.depends ? "depends" : decision.allowed ? "allowed" : "denied",
    why: `${whyText(decision, opinions, subject.identity)}${authorizerText(asked)}`,
    policy: decision.policy,
    policies: opinions,
    dryRun: isOpen ? [] : deniedByDryRun(decidePolicies(policies, subject, true)),
  };
}

function whyText(decision: AnyDecision, opinions: readonly PolicyOpinion[], peer: string): string {
  if (decision.depends)
    return `policy ${decision.policy}, rule #${decision.rule} asks for more than who connects: give METHOD and PATH`;
  const deciding = opinions.filter(({ action }) => action === "ALLOW" || action === "DENY");
  return whyOf(decision, deciding, peer);
}

/** Before all others, and nobody here can ask it. */
function authorizerText(asked: readonly PolicyOpinion[]): string {
  if (asked.length === 0) return "";
  return `; before that the authorizer of ${asked.map(({ name }) => name).join(", ")} is asked`;
}

function deniedByDryRun({ allowed, policy }: HttpDecision): string[] {
  return allowed || policy === undefined ? [] : [policy];
}

interface Targeted {
  readonly policy: Policy;
  readonly target: Target;
}

/** In the order of the targets, each once. */
export function targetedPolicies({ snapshot }: MeshPicture, targets: readonly Target[]): Targeted[] {
  const { policies } = snapshot;
  const found = new Map<string, Targeted>();
  for (const target of targets) {
    for (const name of policies.policiesFor(target)) {
      const policy = found.has(name) ? undefined : policies.policy(name, () => "");
      if (policy !== undefined) found.set(name, { policy, target });
    }
  }
  return [...found.values()];
}

function opinionOf(targeted: Targeted, subject: HttpSubject): PolicyOpinion {
  return { ...opinionAt(targeted), rule: matchingHttpRule(targeted.policy, subject) };
}

/** What a policy is, not what it says of somebody. */
export function opinionAt({ policy, target }: Targeted): PolicyOpinion {
  const { namespace, name } = target;
  return {
    layer: "L7",
    name: policy.name,
    action: actionName(policy.action),
    dryRun: policy.dryRun,
    scope: `${target.kind} ${namespace === "" ? name : `${namespace}/${name}`}`,
    rule: undefined,
    rules: policy.rules.map(ruleText),
    remark: "",
  };
}

export function ruleText({ from, to, when }: Policy["rules"][number]): string {
  const anyOf = (what: string, entries: readonly object[]) => {
    const texts = entries.map(fieldsText);
    if (texts.length === 0) return [];
    return [`${what} ${texts.length > 1 ? `(${texts.join(" or ")})` : texts[0]}`];
  };
  const conditions = when.map((each) => {
    const key = Object.entries(PolicyCondition_Key).find(([, value]) => value === each.key)?.[0] ?? "?";
    const path = [each.header, ...each.claim].filter((part) => part !== "").join(".");
    const { key: _, header: __, claim: ___, ...values } = each;
    return `when ${key.toLowerCase()}${path === "" ? "" : `[${path}]`} ${fieldsText(values)}`;
  });
  return [...anyOf("from", from), ...anyOf("to", to), ...conditions].join(" and ") || "anything";
}

function fieldsText(fields: object): string {
  const lists = Object.entries(fields).filter(([, value]) => Array.isArray(value) && value.length > 0);
  if (lists.length === 0) return "nothing that can be told";
  return lists.map(([name, values]) => `${name} ${(values as unknown[]).map(valueText).join(" | ")}`).join(" and ");
}

function valueText(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  if ("ip" in value && "length" in value) return `${value.ip}/${value.length}`;
  const { kind } = value as StringMatch;
  if (kind.case === "present") return "*";
  if (kind.case === "regex") return `~${kind.value}`;
  return `${kind.case === "suffix" ? "*" : ""}${kind.value}${kind.case === "prefix" ? "*" : ""}`;
}
